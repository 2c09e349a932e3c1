"""Outcomes, endings, outputs, leftovers and accounts that are not as they should be, and the contracts they break."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness._tests.altering import MODEL, sound, verdict_of, with_outcome
from harness.compare import compare
from harness.compare.catalogue import CONTRACTS
from harness.model.semantics import STACKS_PER_TABLE
from harness.program.outcome import (
    Code,
    Done,
    Exited,
    Failed,
    Faulted,
    Gone,
    Killed,
    Loaded,
    Lost,
    Outcome,
    Printed,
    Signal,
)
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Accounting, Ending, FrameFlag, FrameSeen, Trace
from harness.program.units import Address
from harness.subject import How

EVERYTHING = How(count_faults=True, accounting=True)
SEGV = Faulted(Signal.SIGSEGV, Code.ACCERR, Address("a", 0))

CASES: dict[str, tuple[str, Outcome, str]] = {
    "a wait tells a wrong status": ("p0: fork p1\np1: exit 7\np0: wait p1", Exited(8), "wait.status"),
    "a death reads as an exit": ("p0: fork p1\np1: crash load a[0]\np0: wait p1", Exited(11), "wait.status"),
    "a wait fails": ("p0: fork p1\np1: exit 7\np0: wait p1", Failed("ECHILD"), "wait.status"),
    "a kill by another signal": (
        "p0: fork p1\np1: crash load a[0]\np0: wait p1", Killed(Signal.SIGBUS), "wait.status",
    ),
    "fresh memory is not zero": ("p0: map a 1 rw private anon\np0: load a[0]", Loaded(7), "zero.fresh-memory"),
    "the parent's store shows in the child": (
        "p0: map a 1 rw private anon\np0: store a[0] 1\np0: fork p1\np0: store a[0] 2\np1: load a[0]",
        Loaded(2), "fork.parent-store-private",
    ),
    "the child's store shows in the parent": (
        "p0: map a 1 rw private anon\np0: store a[0] 1\np0: fork p1\np1: store a[0] 2\np0: load a[0]",
        Loaded(2), "fork.child-store-private",
    ),
    "the child's store to a file page of its parent's own shows there": (
        "p0: map a 1 rw private f\np0: store a[0] 1\np0: fork p1\np1: store a[0] 2\np0: load a[0]",
        Loaded(2), "fork.child-store-private",
    ),
    "what was written to a pipe is in a file": (
        "p0: map a 1 rw shared f\np0: splice f 0\np0: feed 0x11\np0: load a[0]+1", Loaded(0x11), "pipe.keeps-pages",
    ),
    "the image has a wrong byte": ("p0: load data[1]", Loaded(1), "exec.image-intact"),
    "a store to the image comes back after exec": (
        "p0: store data[1] 0x55\np0: fork p1\np1: exec\np1: load data[1]", Loaded(0x55), "cache.private-write-stays-out",
    ),
    "a forbidden load works": (
        "p0: map a 1 rw private anon\np0: store a[0] 1\np0: unmap a[0]\np0: load a[0]", Loaded(1), "munmap.exact",
    ),
    "a forbidden store works": (
        "p0: map a 1 rw private anon\np0: store a[0] 1\np0: protect a[0] r\np0: store a[0] 2",
        Done(), "mprotect.last-one-counts",
    ),
    "an allowed store does not": ("p0: map a 1 rw private anon\np0: store a[0] 1", SEGV, "fault.signal"),
    "a signal has the wrong code": (
        "p0: load a[0]", Faulted(Signal.SIGSEGV, Code.ACCERR, Address("a", 0)), "fault.signal",
    ),
    "a signal has the wrong address": (
        "p0: load a[0]+8", Faulted(Signal.SIGSEGV, Code.MAPERR, Address("a", 0)), "fault.signal",
    ),
    "a signal has an address outside every window": (
        "p0: load a[0]", Faulted(Signal.SIGSEGV, Code.MAPERR, None, 0x1000), "fault.signal",
    ),
    "a print takes too little": ("p0: print data[0] 8", Printed(7), "kernel-read.sees-memory"),
    "a print of forbidden memory works": ("p0: print a[0] 8", Printed(8), "tlb.no-stale"),
    "a map fails": ("p0: map a 1 rw private anon", Failed("ENOMEM"), "errno.table"),
    "a protect of a hole works": ("p0: protect a[0] r", Done(), "errno.table"),
    "an unmap fails": ("p0: unmap a[0]", Failed("EINVAL"), "errno.table"),
    "an exec fails": ("p0: exec", Failed("ENOENT"), "errno.table"),
    "an exit comes back": ("p0: exit 3", Done(), "errno.table"),
    "an outcome is of another kind": ("p0: load data[0]", Gone(), "fault.signal"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_a_wrong_outcome_breaks_its_contract_at_its_step(what: str) -> None:
    text, outcome, contract = CASES[what]
    last = len(parse_program(text)) - 1

    first = verdict_of(text, with_outcome(last, outcome)).first()

    assert contract in first.contracts
    assert (first.step, first.where.split()[0]) == (last, f"p{parse_program(text).steps[last].process}")
    assert set(first.contracts) <= set(CONTRACTS)


FIRST = sorted(
    set(CASES) - {"a print takes too little", "a print of forbidden memory works", "an outcome is of another kind"}
)


@pytest.mark.parametrize("what", FIRST)
def test_the_most_telling_contract_comes_first(what: str) -> None:
    text, outcome, contract = CASES[what]

    verdict = verdict_of(text, with_outcome(len(parse_program(text)) - 1, outcome))

    assert verdict.first().contracts[0] == contract
    assert verdict.first().contract is CONTRACTS[contract]


@pytest.mark.parametrize("what", CASES)
def test_the_right_outcomes_conform(what: str) -> None:
    assert verdict_of(CASES[what][0], lambda trace: trace, EVERYTHING).conforms


def test_only_the_first_wrong_outcome_counts() -> None:
    text = "p0: load data[0]\np0: load data[1]"

    verdict = verdict_of(text, lambda trace: replace(trace, outcomes=(Loaded(1), Loaded(2))))

    assert [each.step for each in verdict.divergences] == [0]


# ---------------------------------------------------------------------------------- endings

STEPS = "p0: map a 1 rw private anon\np0: store a[0] 1\np0: load a[0]"
ENDINGS = {
    Ending.LOST: ("live.process-survives", "it died: killed by signal 11"),
    Ending.STUCK: ("live.bounded", "it does not end: killed by signal 11"),
    Ending.FORK_FAILED: ("errno.table", "it failed: killed by signal 11"),
    Ending.PANICKED: ("live.no-panic", "the kernel panicked, oopsed or warned: killed by signal 11"),
    Ending.HUNG: ("live.no-panic", "it does not answer: killed by signal 11"),
    Ending.DIED: ("live.no-panic", "it stopped or rebooted: killed by signal 11"),
}


def broken_off(ending: Ending, done: int) -> Trace:
    outcomes = sound(STEPS).outcomes[:done]
    return Trace(outcomes, ending=ending, evidence="killed by signal 11\nmore")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_an_ending_breaks_its_contract_at_the_step_that_was_not_done(ending: Ending, done: int) -> None:
    verdict = compare(parse_program(STEPS), broken_off(ending, done), MODEL)

    first = verdict.first()
    assert (first.contracts[0], first.observed, first.step) == (*ENDINGS[ending], done)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ending_of_an_empty_program_is_a_finding_too(ending: Ending) -> None:
    verdict = compare(Program(()), Trace((), ending=ending), MODEL)

    assert verdict.first().contracts[0] == ENDINGS[ending][0]


@pytest.mark.parametrize("ending", [Ending.PANICKED, Ending.HUNG, Ending.DIED])
def test_a_guest_that_broke_off_has_not_said_what_the_steps_before_gave(ending: Ending) -> None:
    trace = Trace((None, None), ending=ending)

    assert compare(parse_program(STEPS), trace, MODEL).first().step == 2


def test_a_wrong_outcome_before_the_ending_comes_first() -> None:
    trace = Trace((Done(), Failed("EFAULT")), ending=Ending.DIED)

    assert compare(parse_program(STEPS), trace, MODEL).first().step == 1


def test_a_process_that_was_lost_is_lost_at_its_step() -> None:
    trace = Trace((Done(), Lost("it was killed")), ending=Ending.LOST, evidence="it was killed")

    first = compare(parse_program(STEPS), trace, MODEL).first()

    assert (first.contracts[0], first.step, first.where) == ("live.process-survives", 1, "p0")


def test_a_trace_that_ends_early_without_saying_why_does_not_conform() -> None:
    verdict = compare(parse_program(STEPS), Trace((Done(),)), MODEL)

    assert verdict.first().observed == "the trace ends early"


# ---------------------------------------------------------------------------------- the end


def test_wrong_output_is_told_with_both_texts() -> None:
    text = "p0: print data[0] 2"

    first = verdict_of(text, lambda trace: replace(trace, outputs={0: b"xy"})).first()

    assert first.contracts[0] == "kernel-read.sees-memory"
    assert (first.step, first.where) == (1, "the output of p0")
    assert (first.expected, first.observed) == (repr(b"\x80\x80"), repr(b"xy"))


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        (FrameSeen(0, 1, None), True),
        (FrameSeen(0, 1, FrameFlag.ANON), True),
        (FrameSeen(0, 1, FrameFlag.ANON | FrameFlag.LRU), True),
        (FrameSeen(0, 1, FrameFlag.LRU), False),
        (FrameSeen(0, 1, FrameFlag(0)), False),
    ],
)
def test_a_frame_that_still_looks_like_the_programs_was_lost(seen: FrameSeen, lost: bool) -> None:
    verdict = verdict_of("p0: load data[0]", lambda trace: replace(trace, leftover={77: seen}))

    assert verdict.conforms is not lost
    if lost:
        assert verdict.first().contracts[:2] == ("conserve.frames", "exit.drops-all")


@pytest.mark.parametrize(
    ("counts", "contract"),
    [
        ({"page_tables": 1}, "tables.conserved"),
        ({"anonymous": 1}, "conserve.frames"),
        ({"page_tables": -1, "anonymous": -1, "free": -50}, ""),
        ({"free": 3}, ""),
    ],
)
def test_machine_wide_counts_may_not_grow(counts: dict[str, int], contract: str) -> None:
    def alter(trace: Trace) -> Trace:
        before = trace.before
        assert before is not None
        grown = replace(before, **{name: getattr(before, name) + more for name, more in counts.items()})
        return replace(trace, after=grown)

    verdict = verdict_of("p0: fork p1", alter, EVERYTHING)

    assert [each.contracts[0] for each in verdict.divergences] == ([contract] if contract else [])


def test_counts_that_were_not_taken_are_not_compared() -> None:
    verdict = verdict_of(
        "p0: fork p1", lambda trace: replace(trace, before=Accounting(1, None, None), after=Accounting(9, 9, 9))
    )

    assert verdict.conforms


def test_processes_that_could_not_be_reaped_are_a_finding() -> None:
    verdict = verdict_of("p0: fork p1", lambda trace: replace(trace, unreaped=2))

    assert (verdict.first().contracts[0], verdict.first().where) == ("conserve.process", "init")


@pytest.mark.parametrize("extra", [1, 5, -1])
def test_a_first_touch_takes_one_fault(extra: int) -> None:
    text = "p0: map a 1 rw private anon\np0: store a[0] 1"

    def alter(trace: Trace) -> Trace:
        assert trace.faults is not None
        return replace(trace, faults=(trace.faults[0], (trace.faults[1] or 0) + extra))

    first = verdict_of(text, alter, EVERYTHING).first()

    assert (first.contracts[0], first.step, first.where) == ("cow.one-fault-per-first-write", 1, "p0 a[0]")


def test_faults_of_what_does_not_touch_memory_are_not_compared() -> None:
    text = "p0: map a 1 rw private anon\np0: fork p1"

    assert verdict_of(text, lambda trace: replace(trace, faults=(50, 70)), EVERYTHING).conforms


@pytest.mark.parametrize(("more", "conforms"), [(0, True), (2, True), (3, False)])
def test_where_the_kernel_counts_its_own_page_tables_a_program_may_cost_it_some(more: int, conforms: bool) -> None:
    """One for a fresh part of its address space, and one for up to 64 new stacks."""
    program = parse_program("p0: fork p1\np1: exit 0")
    trace = sound(program, EVERYTHING)
    assert trace.before is not None
    tables = trace.before.page_tables or 0
    grown = replace(trace, after=replace(trace.before, page_tables=tables + more))

    assert compare(program, grown, replace(MODEL, processes_per_kernel_table=STACKS_PER_TABLE)).conforms == conforms
    assert compare(program, grown, MODEL).conforms == (more == 0)
