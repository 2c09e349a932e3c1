"""One run of the contracts against one planted fault, in a pytest of its own, and what came of it.

Which contracts must catch a fault, only the contracts know: `pytest contracts --catches FAULT` runs just
these. The run leaves two files: its results as JSON, and the JUnit report, which alone knows what was
skipped or ended in an error.
"""

from __future__ import annotations

import enum
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.commands.children import Children, Ended
from harness.errors import RigError, StorageError

RUN_LIMIT_S = 3600.0
"""No run of one fault takes so long; one that does is stuck."""

_PASSED, _FAILED, _NO_TESTS = 0, 1, 5  # pytest's exit status; all others are trouble


class Found(enum.StrEnum):
    """What one contract made of a fault."""

    CAUGHT = "caught"
    MISSED = "missed"
    EXPECTED = "expected"
    SKIPPED = "skipped"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Result:
    """One contract in one run.

    `broken` is the contract that the found program breaks: this one, or any where it asks for all.
    `examples` is the number of programs up to the first such, `seconds_to_find` the time until then, `steps` the
    length of the shrunk one, `seconds` the time for all of it. `note` says why, where it was skipped or went wrong.
    """

    contract: str
    test: str
    found: Found
    broken: str | None = None
    examples: int | None = None
    steps: int | None = None
    seconds: float = 0.0
    note: str = ""
    seconds_to_find: float | None = None
    file: str = ""
    """The failing program, where one was saved; its name alone."""


@dataclass(frozen=True, slots=True)
class FaultRun:
    """All contracts that ran against `faults`, and those that were broken on the side."""

    results: tuple[Result, ...]
    beside: tuple[str, ...] = field(default=())
    cut: str = ""
    """Why it did not get to its end, where it was allowed not to."""

    def of(self, found: Found) -> list[Result]:
        """Give the results of one kind."""
        return [result for result in self.results if result.found is found]

    @property
    def examples_to_find(self) -> int | None:
        """How many programs the quickest contract took; None where none caught anything."""
        return min((result.examples or 0 for result in self.of(Found.CAUGHT)), default=None)

    @property
    def caught_by_all(self) -> bool:
        """Whether there was a contract, and none that did not catch the fault."""
        return bool(self.results) and all(result.found is Found.CAUGHT for result in self.results)


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: with `fault`, or with none; `catches` selects contracts, all of them where empty."""

    guest: str
    fault: str | None
    catches: tuple[str, ...]
    examples: int
    seed: str
    workers: int = 1
    keep: Path | None = None
    """The folder for the failing programs, where they are wanted."""
    only: str = ""
    """Part of the names of the tests to run, where not all are wanted."""

    def command(self, folder: Path) -> list[str]:
        """Write the command line; the run's files go to `folder`."""
        command = [sys.executable, "-m", "pytest", "contracts", "-q", "--no-header", "--tb=line"]
        command += ["-p", "no:cacheprovider", "--guest", self.guest]
        command += ["--examples", str(self.examples), "--seed", self.seed]
        command += ["--json", str(folder / "results.json"), "--junit-xml", str(folder / "junit.xml")]
        command += ["--failures", str(folder / "failures")]
        command += ["--fault", self.fault] if self.fault else []
        command += ["-k", self.only] if self.only else []
        for fault in self.catches:
            command += ["--catches", fault]
        return command + (["-n", str(self.workers)] if self.workers > 1 else [])


def run_order(
    children: Children,
    order: Order,
    *,
    heed: Callable[[str], None] | None = None,
    limit_s: float = RUN_LIMIT_S,
    patience_s: float = 0.0,
) -> FaultRun:
    """Run what `order` says; `heed` gets each line that is printed. Raises RigError where pytest itself, or our side of the
    guest, fails, and where it takes longer than `limit_s`. With `patience_s` it is then only cut, as it is by Ctrl-C.
    """
    with TemporaryDirectory(prefix="pagepact-faults-") as name:
        folder = Path(name)
        # The run's own temporary files go with the folder, though it may be killed.
        ended = children.run(
            order.command(folder), environment={"TMPDIR": name}, timeout_s=limit_s, heed=heed, patience_s=patience_s
        )
        run = read_cut_run(folder, ended.cut) if ended.cut else read_run(folder, ended)
        if order.keep is not None:
            _keep(folder / "failures", order.keep)
        return run


def _keep(failures: Path, target: Path) -> None:
    """Move failing programs to where they stay. Each names its own place, in how to replay it."""
    try:
        for path in failures.glob("*.prog"):
            target.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8").replace(str(failures), str(target))
            (target / path.name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error


def read_run(folder: Path, ended: Ended) -> FaultRun:
    """Put together what a run left in `folder`. Raises RigError where it did not get to the end."""
    if ended.status == _NO_TESTS:
        return FaultRun(())
    if ended.status not in (_PASSED, _FAILED):
        raise RigError(f"pytest contracts gave up (exit status {ended.status}): {_reason_of(ended)}")
    try:
        rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        cases = list(ET.parse(folder / "junit.xml").getroot().iter("testcase"))
        results = [_result_of(row, _failures(cases)) for row in rows]
        others = _without_result(cases, {result.test for result in results})
    except (OSError, ValueError, KeyError, ET.ParseError) as error:
        raise RigError(f"pytest contracts left no readable results ({error}): {_reason_of(ended)}") from error
    return FaultRun((*results, *others), beside=_saved_beside(folder / "failures", results))


def read_cut_run(folder: Path, cut: str) -> FaultRun:
    """Put together what a run left that was asked to end: its JUnit report has the tests that were done."""
    try:
        cases = list(ET.parse(folder / "junit.xml").getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        cases = []  # it had no time for that
    found = [_result_of_case(case, contract) for case in cases if (contract := _contract(case))]
    return FaultRun(tuple(found), beside=_saved_beside(folder / "failures", found), cut=cut)


def _result_of_case(case: ET.Element, contract: str) -> Result:
    """Read a result from the JUnit report alone."""
    test = case.get("name", "?")
    for tag, kind in (("failure", Found.CAUGHT), ("error", Found.ERROR), ("skipped", Found.SKIPPED)):
        note = case.find(tag)
        if note is not None and kind is Found.CAUGHT:
            return Result(contract, test, kind, contract)
        if note is not None:
            found = Found.EXPECTED if note.get("type") == "pytest.xfail" else kind
            return Result(contract, test, found, note=_sentence(note))
    return Result(contract, test, Found.MISSED)


def _reason_of(ended: Ended) -> str:
    """Find the line that explains: pytest begins a usage error with ERROR, and Exit where there is no guest to test."""
    said = [line.strip() for line in ended.output.splitlines() if line.startswith(("ERROR", "Exit"))]
    return said[0].removeprefix("ERROR:").removeprefix("Exit:").strip() if said else ended.last_line()


def _failures(cases: Sequence[ET.Element]) -> dict[str, str]:
    """Give the first line of what each failed test failed with, by the name of the test."""
    found = {case.get("name", "?"): case.find("failure") for case in cases}
    return {
        name: (failure.get("message") or "").strip().partition("\n")[0]
        for name, failure in found.items()
        if failure is not None
    }


def _result_of(row: dict[str, Any], failures: dict[str, str]) -> Result:
    contract, broken = row["contract"], row["broken"]
    name, note, file = str(row["test"]).rpartition("::")[2], "", ""
    if row["outcome"] == "passed":
        found = Found.MISSED
    elif row["outcome"] == "expected":
        found, note = Found.EXPECTED, "as the file of known divergences says"
    elif broken:
        found, file = Found.CAUGHT, Path(row.get("file") or "").name
    else:
        found, note = Found.ERROR, failures.get(name, "it failed, and not for a violation")
    return Result(
        contract, name, found, broken, row["examples"], row["steps"], row["seconds"], note, row["seconds_to_find"], file
    )


def _without_result(cases: Sequence[ET.Element], known: set[str]) -> list[Result]:
    """Give what was skipped, and what ended in an error, as the JUnit report has it."""
    found = []
    for case in cases:
        test = case.get("name", "?")
        for tag, kind in (("skipped", Found.SKIPPED), ("error", Found.ERROR)):
            note = case.find(tag)
            if note is not None and test not in known:
                found.append(Result(_contract(case) or test, test, kind, note=_sentence(note)))
    return found


def _contract(case: ET.Element) -> str | None:
    """Give the contract that a test is about, where the plugin got as far as to say so."""
    return next((each.get("value") for each in case.iter("property") if each.get("name") == "contract"), None)


def _sentence(note: ET.Element) -> str:
    """Give what a note says: errors have it in the text, skips in the message."""
    text = (note.text or "").strip() if note.tag == "error" else note.get("message", "")
    return " ".join(text.split())[:300]


def _saved_beside(folder: Path, results: Sequence[Result]) -> tuple[str, ...]:
    """Name the contracts of which a failing program was saved, and that no result is about."""
    own = {result.broken for result in results}
    saved = {path.stem.rpartition("-")[0] for path in folder.glob("*.prog")}
    return tuple(sorted(saved - own))
