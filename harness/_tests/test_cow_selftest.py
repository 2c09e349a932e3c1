"""The scenarios of Linux's selftest cow.c: each is a stored program, or is left out for a reason.

The names are those that the selftest prints (tools/testing/selftests/mm/cow.c, Linux 6.12). It runs each of its tests on
private anonymous memory, and each of two more on private mappings of something else, in many forms: those of huge pages
(THP) are in `test_cow_selftest_huge`, the page in swap in `test_cow_selftest_swap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import ToolMissing
from harness.guests import open_runner
from harness.program.abilities import needs
from harness.report.store import read_failure
from harness.runner import Runner
from harness.subject import How

PROGRAMS = Path(__file__).resolve().parents[2] / "fixtures" / "programs"

ANONYMOUS = {
    "Basic COW after fork()": "cow-parent-writes-after-fork",
    "Basic COW after fork() with mprotect() optimization": "cow-parent-writes-after-mprotect-round-trip",
    "vmsplice() + unmap in child": "cow-vmsplice-child-then-unmap",
    "vmsplice() + unmap in child with mprotect() optimization":
        "cow-vmsplice-child-then-unmap-after-mprotect-round-trip",
    "vmsplice() before fork(), unmap in parent after fork()": "cow-vmsplice-before-fork",
    "vmsplice() + unmap in parent after fork()": "cow-vmsplice-after-fork",
    "R/O-mapping a page registered as iouring fixed buffer": "cow-fixed-buffer-after-mprotect-round-trip",
    "fork() with an iouring fixed buffer": "cow-fixed-buffer-over-fork",
    "R/O GUP pin on R/O-mapped shared page": "cow-pin-of-a-shared-page",
    "R/O GUP pin on R/O-mapped previously-shared page": "cow-pin-of-a-formerly-shared-page",
    "R/O GUP pin on R/O-mapped exclusive page": "cow-pin-of-an-exclusive-page-after-mprotect-round-trip",
}  # fmt: skip
"""Its tests of anonymous memory, "with base page". The pins are a pipe's here: its own take the module gup_test."""

OTHER_MEMORY = {
    "Basic COW ... with shared zeropage": "cow-zero-page",
    "Basic COW ... with memfd": "cow-private-memfd",
    "Basic COW ... with tmpfile": "cow-private-tmpfile",
    "R/O longterm GUP pin ... with shared zeropage": "cow-pin-of-the-zero-page",
    "R/O longterm GUP pin ... with memfd": "cow-pin-of-a-private-memfd-page",
    "R/O longterm GUP pin ... with tmpfile": "cow-pin-of-a-private-tmpfile-page",
}
"""Its tests of private mappings of what is not anonymous."""

LEFT_OUT = {
    "R/O GUP-fast pin on R/O-mapped shared page": "a process cannot choose that way: vmsplice tries it first, for all pins",
    "R/O GUP-fast pin on R/O-mapped previously-shared page": "as above",
    "R/O GUP-fast pin on R/O-mapped exclusive page": "as above",
    "R/O longterm GUP-fast pin": "as above",
    "… with hugetlb, memfd hugetlb": "no program maps pages that are huge because they are asked to be",
    "… with huge zeropage": "it is taken from the allocator at its first use, and never given back: switched off",
    "Basic COW after fork() when collapsing before fork()": "no program asks for a collapse (MADV_COLLAPSE)",
    "Basic COW after fork() when collapsing after fork() (fully, lower, upper shared)": "as above",
}
"""What no program tells, and why."""

TOLD = ANONYMOUS | OTHER_MEMORY


def steps_of(name: str) -> list[str]:
    """Give the steps of the stored program that tells a scenario."""
    text = (PROGRAMS / f"{TOLD[name]}.prog").read_text(encoding="utf-8")
    return text.partition("pagepact 1\n")[2].strip().splitlines()


@pytest.fixture(scope="module", params=["model", "mini", "linux"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    try:
        opened = open_runner(request.param)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", TOLD)
def test_a_scenario_of_the_selftest_is_told_and_holds(runner: Runner, name: str) -> None:
    program = read_failure(PROGRAMS / f"{TOLD[name]}.prog").program
    lacking = {word for op in program.steps for word in needs(op)} & getattr(runner.subject, "lacking", {}).keys()
    if lacking:
        assert (runner.subject.name, lacking) == ("mini", {"fix", "deliver"}), "only io_uring may be missing, and in mini"
        return

    verdict = runner.run_sequence([program], How(dense=True))

    assert verdict.divergences == ()


def test_a_program_says_that_it_is_from_the_selftest() -> None:
    first = {name: (PROGRAMS / f"{file}.prog").read_text(encoding="utf-8").splitlines()[0] for name, file in TOLD.items()}

    assert [name for name, line in first.items() if "cow.c" not in line] == []
    assert len(set(TOLD.values())) == len(TOLD)


def test_nothing_is_both_told_and_left_out() -> None:
    assert not TOLD.keys() & LEFT_OUT.keys()
    assert all(LEFT_OUT.values())
