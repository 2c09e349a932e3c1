"""A kernel that brings pages in early is right as long as it keeps to what it declares, and wrong in what else it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compare.compare import compare
from harness.guests import semantics_of
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.model_guest.features import Feature
from harness.program.program import Program
from harness.program.text import parse_program
from harness.report.failure import failure_text
from harness.report.store import read_failure
from harness.runner import Runner
from harness.subject import How
from strategies.programs import programs

PROGRAMS = Path(__file__).resolve().parents[2] / "fixtures" / "programs"
EAGER = "eager-prefault"
"""The fault by which the in-process guest brings in up to 64 pages of each new mapping that may be written."""

ANY = replace(PRESETS["model"], prefault_budget=1 << 16)
EIGHT = replace(PRESETS["model"], prefault_budget=8)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.prog")), ids=lambda path: path.stem)
def test_every_stored_program_conforms_on_a_kernel_that_declares_to_prefault(path: Path, dense: bool) -> None:
    failure = read_failure(path)

    verdict = Runner(ModelGuest((EAGER,)), ANY).run_sequence(failure.programs, replace(failure.how, dense=dense))

    assert verdict.divergences == ()


@pytest.mark.parametrize(
    "family", ["", "p0: remap a[0..1] b[0..1]\n", "p0: protect a[0] none\n", "p1: fork p2\np2: exit 0\n"]
)
@pytest.mark.parametrize("touch", ["", "p1: load a[0]\n", "p0: store a[0] 0x22\n"])
def test_pages_that_came_before_a_fork_are_shared_after_it(family: str, touch: str) -> None:
    program = parse_program(f"p0: map a 2 rw private anon\np0: fork p1\n{family}{touch}observe")
    trace = ModelGuest((EAGER,)).execute(program, How())

    assert compare(program, trace, EIGHT).conforms


@pytest.mark.parametrize(
    ("fault", "contract", "text"),
    [
        ("batch-hands-out-twice", "batch.distinct-zeroed", "p0: map a 8 rw private anon"),
        ("batch-not-zeroed", "batch.distinct-zeroed", "p0: store bss[0] 0x11\np0: map a 8 rw private anon\np0: load a[7]"),
        ("fork-keeps-writable", "fork.parent-store-private",
         "p0: map a 1 rw private anon\np0: fork p1\np0: store a[0] 0x22\np1: load a[0]"),
        ("fork-forgets-ref", "count.equals-references", "p0: map a 1 rw private anon\np0: fork p1"),
        ("fork-copies-at-once", "fork.shares-frames", "p0: map a 1 rw private anon\nobserve\np0: fork p1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_prefaulted_pages_is_found(fault: str, contract: str, text: str) -> None:
    verdict = Runner(ModelGuest((EAGER, fault)), EIGHT).run(parse_program(text))

    assert contract in verdict.contracts


@pytest.mark.parametrize(("counted", "conforms"), [(True, False), (False, True)])
def test_a_load_that_took_a_fault_has_found_nothing_that_came_early(counted: bool, conforms: bool) -> None:
    """So what it has is the zero page; without the count of faults it may have found a frame of its own."""
    program = parse_program("p0: map a 12 rw private anon\np0: load a[0]")
    trace = ModelGuest(("load-takes-frame",), features=(Feature.PREFAULT,)).execute(program, How(count_faults=counted))

    assert compare(program, trace, EIGHT).conforms is conforms


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(program=programs(), dense=st.booleans())
def test_a_sound_kernel_that_prefaults_is_not_accused(program: Program, dense: bool) -> None:
    guest = ModelGuest(features=(Feature.PREFAULT,))

    trace = guest.execute(program, How(dense=dense, count_faults=True, accounting=True))

    assert compare(program, trace, semantics_of(guest)).conforms


def test_a_report_shows_the_pages_beyond_the_budget_as_those_that_should_not_be_there() -> None:
    program = parse_program("p0: map a 10 rw private anon")
    verdict = compare(program, ModelGuest((EAGER,)).execute(program, How()), EIGHT)

    assert verdict.contracts == {"prefault.budget"}
    text = failure_text(verdict, contract="prefault.budget", guest="model")
    sentence = (
        "p0 a[8] is one of 10 pages that the process has and never touched, and the kernel's prefault budget is 8 pages"
    )
    assert sentence in " ".join(text.split())
    assert [line.split()[:4] for line in text.splitlines() if line.strip().startswith(">>") and "a[" in line] == [
        [">>", "p0", "a[8]", "-"],
        [">>", "p0", "a[9]", "-"],
    ]
