"""Failure files: one `.prog` for each finding, to be replayed, read, and attached to a bug report.

A failure file is a program like any other (`harness.program.text`); what else is to be known stands in
its comments. Those at the head are read by `read_failure`::

    # contract: cow.sole-owner-reuses       the contract that it breaks
    # sentence: Once every other holder …   for people, as are `wrong:` and `replay:`
    # guest: linux                          where it was found: a name, or the path of a .toml
    # kernel: bzImage                       the kernel image, where it was not the guest's own
    # arch: arm64                           its architecture, and more words for its command line, likewise
    # append: quiet
    # fault: cow-shares                     each planted fault that was on
    # look: count-faults accounting         what was looked at beside the memory
    # before 1: p0: map a 4 rw …            the steps of the programs that have to run first, in order,
    # before 1: p0: exit 0                  each with the number of its program
    # before 2: p0: load a[0]
    pagepact 1
    p0: …

so that the file alone shows the failure again, and still parses as the failing program alone. Behind the
program follow, for people, the outcomes and the state.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.compare.catalogue import CONTRACTS
from harness.compare.verdict import Verdict
from harness.errors import ProgramError, StorageError
from harness.program.program import Program
from harness.program.text import format_op, format_program, format_steps, lines_of, parse_op, parse_program
from harness.report.sentence import what_went_wrong
from harness.report.state_table import state_lines
from harness.subject import How

_KEY = re.compile(r"(contract|sentence|wrong|guest|kernel|arch|append|fault|look|replay|before \d+): (.*)")
_LOOKS = {"count-faults": "count_faults", "accounting": "accounting", "pte-bits": "pte_bits"}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a program file says: the program, and how to run it. Empty where the file says nothing."""

    program: Program
    before: tuple[Program, ...] = ()
    contract: str = ""
    guest: str = ""
    kernel: Path | None = None
    arch: str | None = None
    append: str = ""
    faults: tuple[str, ...] = ()
    how: How = field(default_factory=How)

    @property
    def programs(self) -> tuple[Program, ...]:
        """All programs in the order in which they have to run; the failing one is the last."""
        return (*self.before, self.program)


@dataclass(frozen=True, slots=True)
class FailureStore:
    """The directory of failure files."""

    directory: Path

    def save(
        self,
        verdict: Verdict,
        *,
        contract: str,
        guest: str,
        faults: Sequence[str] = (),
        kernel: Path | None = None,
        arch: str | None = None,
        append: str = "",
        replaces: Path | None = None,
    ) -> Path:
        """Write the failure file of a verdict, whole or not at all, and give its path.

        `replaces` is an older file of the same test, which goes once the new one is safe.
        Raises StorageError where it cannot be written; nothing is left behind then, `replaces` stays.
        """
        path = self.directory / file_name(verdict.program, contract)
        own = {"kernel": str(kernel or ""), "arch": arch or "", "append": append}
        head = _head(verdict, contract, path, guest=guest, faults=faults, own=own)
        _write(path, _text(verdict, head))
        if replaces is not None and replaces != path:
            with contextlib.suppress(OSError):  # an old file too many does no harm
                replaces.unlink(missing_ok=True)
        return path


def file_name(program: Program, contract: str) -> str:
    """Name the failure file: the same program and contract always get the same name."""
    digest = hashlib.sha256(format_program(Program(program.steps)).encode()).hexdigest()
    return f"{contract}-{digest[:8]}.prog"


def replay_command(path: Path) -> str:
    """Give the command that runs a failure file again; guest and faults are in the file."""
    with contextlib.suppress(ValueError):
        path = path.absolute().relative_to(Path.cwd())
    return f"python -m harness replay {shlex.quote(str(path))}"


# ---------------------------------------------------------------------------------- writing


def _has_bits(verdict: Verdict) -> bool:
    """Tell whether the bits of page-table entries were looked at."""
    seen = (
        page
        for each in verdict.trace.observations
        for process in each.processes.values()
        for page in process.pages.values()
    )
    return any(page.writable is not None for page in seen)


def _head(
    verdict: Verdict,
    contract: str,
    path: Path,
    *,
    guest: str,
    faults: Sequence[str],
    own: Mapping[str, str],
) -> list[str]:
    known = CONTRACTS.get(contract)
    looks = {
        "count-faults": verdict.trace.faults,
        "accounting": verdict.trace.before,
        "pte-bits": _has_bits(verdict) or None,
    }
    wrong = what_went_wrong(verdict, verdict.first(contract if verdict.breaks(contract) else None))
    pairs = [
        ("contract", contract),
        ("sentence", known.sentence if known else ""),
        ("wrong", wrong),
        ("guest", guest),
        *own.items(),
        *(("fault", name) for name in faults),
        ("look", " ".join(word for word, found in looks.items() if found is not None)),
        ("replay", replay_command(path)),
        *_before_pairs(verdict.after),
    ]
    title = [line for line in lines_of(verdict.program.title) if not _KEY.fullmatch(line)]
    return [*title, *(f"{key}: {_one_line(value)}" for key, value in pairs if value)]


def _before_pairs(programs: Sequence[Program]) -> Iterator[tuple[str, str]]:
    for number, program in enumerate(programs, 1):
        for op in program.steps:
            yield f"before {number}", format_op(op)


def _text(verdict: Verdict, head: Sequence[str]) -> str:
    body = format_program(Program(verdict.program.steps, "\n".join(head)))
    told = ["", "what the guest said:", *_told(verdict)]
    if verdict.rows:
        told += ["", "the state where it went wrong:", *state_lines(verdict.rows, verdict.divergences)]
    return body + "".join(f"# {line}".rstrip() + "\n" for line in told)


def _told(verdict: Verdict) -> Iterator[str]:
    for line in format_steps(verdict.program, verdict.trace.outcomes):
        yield f"  {line}"
    yield f"the run {verdict.trace.ending.value}"
    for line in verdict.trace.evidence.splitlines():
        yield f"  | {_one_line(line)}"


def _one_line(text: str) -> str:
    """Make a text fit for a comment: what is a line end to anybody would start a step."""
    return "".join(char if char.isprintable() else " " for char in text)


def _write(path: Path, text: str) -> None:
    """Write a file under a name of its own and rename it, so that nobody ever sees half of it."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise StorageError(f"{path}: the failure file could not be written: {reason}") from error


# ---------------------------------------------------------------------------------- reading


def read_failure(path: Path) -> Failure:
    """Read a program file: a failure file, or any other `.prog`.

    Raises ProgramError, with file and line, where it cannot be read or is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProgramError(f"cannot be read: {error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise ProgramError(f"is no text: {error.reason}", source=str(path)) from error
    program = parse_program(text, source=str(path))
    if not program.steps:
        raise ProgramError("has no steps", source=str(path))
    lines = map(_KEY.fullmatch, lines_of(program.title))
    said = [(match[1], match[2]) for match in lines if match]
    single = dict(said)
    looks = {_LOOKS[word]: True for word in single.get("look", "").split() if word in _LOOKS}
    return Failure(
        program,
        before=tuple(_before(said, str(path))),
        contract=single.get("contract", ""),
        guest=single.get("guest", ""),
        kernel=Path(single["kernel"]) if "kernel" in single else None,
        arch=single.get("arch"),
        append=single.get("append", ""),
        faults=tuple(value for key, value in said if key == "fault"),
        how=How(**looks),
    )


def _before(said: Sequence[tuple[str, str]], source: str) -> Iterator[Program]:
    steps: dict[int, list[str]] = {}
    for key, value in said:
        if key.startswith("before "):
            steps.setdefault(int(key.removeprefix("before ")), []).append(value)
    for number, lines in sorted(steps.items()):
        try:
            yield Program(tuple(parse_op(line.strip()) for line in lines))
        except (ValueError, ProgramError) as error:
            raise ProgramError(f"in the program 'before {number}': {error}", source=source) from None
