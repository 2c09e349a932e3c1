"""Facts of young kernels, switched on in the teaching kernel: what is missing is named, and what is right is not blamed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BootFailure
from harness.guest.definition import load_definition
from harness.guest.definition_values import KernelCounts, Quiescence
from harness.guest.session import Session
from harness.guests import MachineSubject, semantics_of
from harness.program.abilities import within
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.text import parse_program
from harness.runner import Runner
from harness.subject import How
from strategies.stream import draw

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "fixtures" / "programs"
QUIRKS = re.findall(
    r'^QUIRK\(\w+, "([^"]+)", "[^"]+"\)$', (ROOT / "fixtures/kernels/mini/quirks.def").read_text(), re.MULTILINE
)
WRONG = {"exit-for-kill"}
"""The quirks that are wrong, and so are findings."""

UNLIKE_LINUX = {
    *("copies-files", "free-at-wait", "whole-buffers", "vfork-is-fork", "fixed-stacks", "plain-maps"),
    *("huge-copies-whole", "bss-in-file", "other-errors"),
}
"""The quirks that are right by the documents alone, so that they take a guest of which nothing is known."""

CONSOLE = {"crlf", "echo", "small-ring", "drop-controls"}
"""The quirks of the console: with a mailbox beside it, hardly a byte would go that way."""

STORED = (
    "cow-child-writes-after-fork",
    "cow-grandchild-writes",
    "cow-private-file-pages",
    "cow-siblings",
    "cow-zero-page",
    "cow-orphan-writes",
    "exit-seen-as-death",
    "errno-every-misuse",
    "advise-for-children",
    "files-mapped-private-while-the-file-changes",
    "copies-that-a-page-ends",
    "stack-growth",
)
CROWD = "crowd-of-300-over-copies"
"""It takes longer to tear down than the bound says, which is of the time in which nothing gets on."""
DRAWN = 10
AFTER_EXEC = parse_program(
    "p0: fork p1\np0: fork p2\np1: exit 7\np2: crash load a[0]\np0: exec\np0: wait p1\np0: wait p2\n"
)
"""Where ends are told by wait4 alone, the parent has reaped both before its exec, and cannot know that any more."""
pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")


FRAMES = KernelCounts("symbol", symbol="^frames$", pointer=True, element="u32", stride=16)
"""mini's array of struct frame, whose first field is the refcount."""
LATE = Quiescence(interval_ms=10, still=2, bound_ms=500)


@contextmanager
def quirky(*quirks: str, quiescence: Quiescence | None = None, counts: KernelCounts | None = None) -> Iterator[Runner]:
    late = quiescence or (LATE if "late-reap" in quirks else Quiescence())
    definition = replace(load_definition("mini"), mailbox=not CONSOLE & set(quirks), quiescence=late, counts=counts)
    if UNLIKE_LINUX & set(quirks):
        definition = replace(definition, semantics="any-kernel")
    subject = MachineSubject(Session(definition.with_append(f"quirk={','.join(quirks)}")))
    runner = Runner(subject, semantics_of(subject))
    try:
        yield runner
    finally:
        runner.close()


def stored(name: str) -> Program:
    return parse_program((PROGRAMS / f"{name}.prog").read_text(encoding="utf-8"))


def findings(runner: Runner, programs: list[Program]) -> list[str]:
    assert isinstance(runner.subject, MachineSubject)
    found: list[str] = []
    for program in programs:
        verdict = runner.run(within(program, runner.subject.lacking.keys()), How(count_faults=True))
        found += [str(divergence) for divergence in verdict.divergences]
    return found


def standard_mix() -> list[Program]:
    programs: list[Program] = []
    draw(DRAWN, chosen_seed=5, take=lambda program, _seconds: programs.append(program))
    return programs


@pytest.mark.parametrize("quirk", [name for name in QUIRKS if name not in WRONG])
def test_a_quirk_is_no_finding(quirk: str) -> None:
    with quirky(quirk) as runner:
        chosen = [stored(name) for name in STORED] + standard_mix()

        assert findings(runner, chosen) == []


def test_who_copies_huge_pages_whole_and_who_has_none_is_not_blamed() -> None:
    huge = [stored(path.stem) for path in sorted(PROGRAMS.glob("fault-huge-*.prog"))]
    for quirk in ("huge-copies-whole", "no-huge"):
        with quirky(quirk) as runner:
            assert findings(runner, huge) == []


def test_who_tears_down_late_is_found_out_at_boot_and_nobody_else_is_waited_for() -> None:
    unknown = replace(LATE, probe=True)
    with quirky("late-reap", quiescence=unknown) as runner:
        assert any("tears down late" in line for line in runner.subject.header())
        assert findings(runner, [stored(name) for name in (*STORED, CROWD)]) == []
    with quirky("unsorted-maps", quiescence=unknown) as runner:
        assert getattr(runner.subject, "is_hasty", False)
        assert findings(runner, [stored(name) for name in STORED]) == []


def test_who_publishes_nothing_and_tears_down_late_is_found_out_by_what_would_have_been_a_finding() -> None:
    """Its counts are read in its memory, where the agent in the guest does not see them move."""
    with quirky("late-reap", "no-proc", quiescence=replace(LATE, probe=True), counts=FRAMES) as runner:
        was_hasty = getattr(runner.subject, "is_hasty", False)

        assert findings(runner, [stored(name) for name in STORED] + standard_mix()) == []
        assert was_hasty
        assert runner.statistics.is_late


def test_what_was_promised_to_the_program_before_is_not_missed_when_it_is_torn_down_late() -> None:
    load = parse_program("p0: load data[0]")
    with quirky("late-reap", "no-kpagecount", "promises") as runner:
        for _ in range(5):
            assert runner.run(stored(CROWD)).conforms

            trace = runner.subject.execute(load, How(accounting=True))

            assert trace.before is not None
            assert trace.after is not None
            assert trace.after.promised is not None
            assert trace.after.promised == trace.before.promised


@pytest.mark.parametrize(
    ("quirk", "level"),
    [
        ("no-proc", Level.MAPPINGS),
        ("no-kpagecount", Level.REFCOUNTS),
        ("rusage-zero", Level.ACCOUNTING),
    ],
)
def test_a_level_that_cannot_be_shown_is_named(quirk: str, level: Level) -> None:
    with quirky(quirk) as runner:
        header = runner.subject.header()

        assert level not in runner.subject.levels
        assert any(line.startswith(f"without {level}: ") for line in header)


@pytest.mark.parametrize(("quirk", "word"), [("no-madvise", "advise"), ("no-mremap", "remap")])
def test_an_operation_that_cannot_be_done_is_named(quirk: str, word: str) -> None:
    with quirky(quirk) as runner:
        assert f"{word} (ENOSYS)" in "\n".join(runner.subject.header())


@pytest.mark.parametrize(
    ("quirk", "line"),
    [
        ("vfork-is-fork", "vfork (is a fork, whose parent runs on)"),
        ("fixed-stacks", "map stack (does not grow)"),
        ("plain-maps", "/proc/PID/maps does not tell the pages of files"),
        ("bss-in-file", "/proc/PID/maps shows bss as pages of the image's file"),
    ],
)
def test_a_call_that_does_less_than_it_may_is_named(quirk: str, line: str) -> None:
    with quirky(quirk) as runner:
        assert line in "\n".join(runner.subject.header())


def test_a_child_that_had_to_be_reaped_early_is_waited_for_after_an_exec() -> None:
    with quirky("no-waitid") as runner:
        assert runner.run(AFTER_EXEC).conforms
        assert "reap (ENOSYS)" in "\n".join(runner.subject.header())


def test_a_killed_child_that_reads_as_an_exit_is_a_finding() -> None:
    with quirky("exit-for-kill") as runner:
        verdict = runner.run(stored("fault-wait-status-wrong"))

        assert "wait.status" in verdict.contracts
        assert runner.run(stored("cow-siblings")).conforms


def test_a_quirk_that_the_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(BootFailure, match="unknown quirk"), quirky("no-such-quirk"):
        pass
