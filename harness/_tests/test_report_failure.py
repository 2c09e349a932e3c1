"""The text of a failure report, word by word, and what it must never do."""

from __future__ import annotations

import dataclasses

import pytest

from harness._tests.snapshots.check import check_snapshot
from harness.compare.verdict import Cell, Divergence, Row, Verdict
from harness.model.presets import PRESETS
from harness.model_guest import FAULTS, ModelGuest
from harness.program.outcome import Done, Lost
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.report.failure import CONSOLE_LINES, failure_text
from harness.report.listing import legend
from harness.report.sentence import without_point
from harness.runner import Runner
from harness.subject import How

ISOLATION = """
p0: map a 4 rw private anon
p0: store a[0] 0x11
p0: fork p1
p0: store a[0] 0x22
p1: load a[0]
p1: exit 7
p0: wait p1
"""

GENERATIONS = """
p0: map a 2 rw private anon
p0: fill a[0] 0x11
p0: load a[1]
p0: fork p1
p1: fork p2
p2: store a[0] 0x01
p1: crash store c[1]
p0: wait p1
p0: store a[0] 0x02
p2: load a[0]
"""

PROTECTION = """
p0: map a 1 rw private anon
p0: store a[0] 0x11
p0: fork p1
p1: exit 0
p0: wait p1
p0: protect a[0] r
p0: store a[0] 0x22
"""

EVERYTHING = """
p0: map a 2 rw private anon
p0: fill a[0] 0x11
p0: load a[1]
p0: store data[1]+5 0x09
p0: fork p1
p1: store a[0] 0x22
p1: store a[1] 0x03
p1: exec
p1: load data[1]+5
p1: exit 0
p0: protect a[0] r
p0: store a[0] 0x05
p0: unmap a[1]
p0: load a[1]
p0: crash store a[1]
"""


def verdicts(text: str, *faults: str, how: How | None = None) -> tuple[Verdict, Verdict]:
    """Run a program on the toy kernel with faults; give the verdict, and that of the dense run."""
    runner = Runner(ModelGuest(faults=faults), PRESETS["model"])
    program = parse_program(text)
    verdict = runner.run_sequence([program], how)
    return verdict, runner.run_sequence([program], How(dense=True))


def report(text: str, *faults: str, contract: str | None = None, how: How | None = None) -> str:
    verdict, explained = verdicts(text, *faults, how=how)
    return failure_text(
        verdict,
        contract=contract,
        explained=explained,
        guest="model",
        replay="python -m harness replay failures/x.prog",
    )


def test_a_wrong_byte_is_traced_to_its_store_and_to_the_step_that_broke_it() -> None:
    text = report(ISOLATION, "fork-forgets-ref", contract="fork.parent-store-private")

    check_snapshot("failure-wrong-byte.txt", text)


def test_a_wrong_count_shows_both_states_and_the_holders() -> None:
    text = report(ISOLATION, "cow-keeps-old-ref", how=How(accounting=True))

    check_snapshot("failure-lost-reference.txt", text)


def test_holders_that_map_nothing_are_called_what_they_are() -> None:
    text = report("p0: map a 1 rw private anon\np0: fix a[0]", "fixed-buffer-not-counted")

    assert "frame A is held by p0 a[0], a fixed buffer, by the model's walk" in text
    assert "page cache, by the model's walk" not in text


def test_a_partial_copy_shows_the_bytes_that_differ() -> None:
    text = report(GENERATIONS, "cow-copies-part-tail")

    check_snapshot("failure-partial-copy.txt", text)


def test_a_missing_signal_shows_the_state_before_and_after() -> None:
    text = report(PROTECTION, "mprotect-keeps-cow-right")

    check_snapshot("failure-missing-signal.txt", text)


def test_an_endless_step_is_marked_and_the_rest_not_reached() -> None:
    text = report(GENERATIONS, "sole-owner-stays-readonly")

    check_snapshot("failure-endless-step.txt", text)


def test_a_step_that_does_not_end_is_found_by_the_run_that_looks_after_each() -> None:
    program = parse_program("p0: map a 1 rw private anon\np0: protect a[0] r\np0: store a[0] 0x02\np0: load a[0]\n")
    said = "the kernel says that p0 sleeps in wait_on_page"
    found = Divergence(("live.bounded",), 0, "p0", "the step ends", "it does not end")
    together = Verdict(program, Trace((), ending=Ending.STUCK), (found,))
    apart = Trace((Done(), Done()), ending=Ending.STUCK, evidence=said)
    explained = Verdict(program, apart, (dataclasses.replace(found, step=2),))
    elsewhere = dataclasses.replace(explained, program=parse_program("p0: load text[0]\n"))

    text = failure_text(together, contract="live.bounded", explained=explained)
    as_it_was = failure_text(together, contract="live.bounded", explained=elsewhere)

    assert "At step 3 (p0: store a[0] 0x02), p0 never came back from this step" in text
    assert said in " ".join(text.split())
    assert "At step 1 (p0: map a 1 rw private anon), p0 never came back" in as_it_was


def test_a_panic_shows_the_end_of_the_console() -> None:
    oops = "[    2.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008"
    console = [oops, *(f"[    1.{n:06d}] boot line {n}" for n in range(40))]
    console += [oops, "[    2.000001]\ttabs and escapes\x1b[0m do no harm", "[    2.1] Kernel panic"]
    program = parse_program(ISOLATION)
    trace = Trace((None, None), ending=Ending.PANICKED, evidence="\n".join(console))
    found = Divergence(("live.no-panic",), 0, "p0", "the kernel survives", "the kernel panicked")

    text = failure_text(Verdict(program, trace, (found,)), contract="live.no-panic", guest="linux")

    assert text.count("    | ") == CONSOLE_LINES
    check_snapshot("failure-panic.txt", text)


def test_programs_that_have_to_run_before_are_listed() -> None:
    verdict, _ = verdicts(ISOLATION, "cow-shares")
    before = tuple(parse_program(f"p0: map a {n} rw private anon\np0: exit {n}") for n in range(1, 6))

    text = failure_text(dataclasses.replace(verdict, after=before), contract=None)

    check_snapshot("failure-needs-others.txt", text)


def test_a_divergence_that_looking_hides_says_so() -> None:
    verdict, _ = verdicts(ISOLATION, "cow-shares")
    hidden, _ = verdicts(ISOLATION)

    text = failure_text(verdict, contract=None, explained=hidden)

    assert "looking hides it" in text


def test_an_accounting_finding_is_not_called_hidden() -> None:
    verdict, explained = verdicts(ISOLATION, "leak-page-tables", how=How(accounting=True))

    text = failure_text(verdict, contract=None, explained=explained)

    assert explained.conforms
    assert "hides" not in text


def test_unseen_frames_and_counts_are_no_differences() -> None:
    program = parse_program(ISOLATION)
    rows = (
        Row(0, "a[0]", Cell("A", "map 1 ref 1", "all 11"), Cell("?", "", "")),
        Row(1, "a[0]", Cell("B", "map 1 ref 1", "22 ×1, 00 ×4095"), Cell("present", "", "23 ×4096")),
    )
    found = Divergence(("store.load",), 4, "p1 a[0]", "byte 0 is 0x22", "byte 0 is 0x23")
    trace = Trace(tuple(Done() for _ in program.steps))

    text = failure_text(Verdict(program, trace, (found,), rows), contract=None)

    assert "  >> p1 a[0]" in text
    assert "     p0 a[0]" in text


def test_an_unknown_phrase_is_said_as_it_stands() -> None:
    program = parse_program(ISOLATION)
    found = Divergence(("errno.table",), 2, "p0", "something new", "something else")
    trace = Trace(tuple(Done() for _ in program.steps))

    text = failure_text(Verdict(program, trace, (found,)), contract="not.in-catalogue")

    assert "p0: expected something new; observed something else" in " ".join(text.split())
    assert "not.in-catalogue" in text


@pytest.mark.parametrize(
    ("expected", "observed", "said"),
    [
        ("0 minor faults", "1 minor faults", "p0 a[0] took 1 page fault, and should have taken 0"),
        ("1 minor faults", "11 minor faults", "p0 a[0] took 11 page faults, and should have taken 1"),
        ("what 50 rounds take from the free memory is given back", "1 frames gone in 1 run", "1 frame is gone from"),
        ("an address space of 2 pages", "1 are counted", "the kernel counts 1 page in the address space"),
        ("a resident set of 1 anonymous pages, 2 of files, 0 shared", "0 anonymous pages, 2 of files, 0 shared",
         "its page tables hold 1 anonymous page, 2 of files"),
    ],
)  # fmt: skip
def test_one_is_counted_in_the_singular(expected: str, observed: str, said: str) -> None:
    program = parse_program(ISOLATION)
    found = Divergence(("errno.table",), 2, "p0 a[0]", expected, observed)

    assert said in without_point(Verdict(program, Trace(tuple(Done() for _ in program.steps)), (found,)), found)


def test_a_process_that_dies_is_named() -> None:
    program = parse_program(ISOLATION)
    trace = Trace((Done(), Lost("killed by signal 9")), ending=Ending.LOST, evidence="killed by signal 9")
    found = Divergence(("live.process-survives",), 1, "p0", "the process survives the step", "it died")

    text = failure_text(Verdict(program, trace, (found,)), contract=None)

    assert "At step 2 (p0: store a[0] 0x11), p0 died, and should have survived: killed by signal 9." in text


def test_a_program_without_steps_can_be_reported() -> None:
    found = Divergence(("live.no-panic",), 0, "the guest", "the guest answers", "it does not answer")

    text = failure_text(Verdict(Program(()), Trace((), ending=Ending.HUNG), (found,)), contract=None)

    assert "the guest stopped answering" in text


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("program", [ISOLATION, GENERATIONS, PROTECTION, EVERYTHING])
def test_every_fault_has_a_report_of_plain_sentences_that_fits(fault: str, program: str) -> None:
    for how in (How(), How(count_faults=True, accounting=True), How(dense=True)):
        verdict, explained = verdicts(program, fault, how=how)
        if verdict.conforms:
            continue

        text = failure_text(verdict, contract=None, explained=explained)

        assert max(map(len, text.splitlines())) <= 100
        assert "; observed" not in text, "a phrase of the comparison that report/sentence.py does not know"
        assert text == failure_text(verdict, contract=None, explained=explained)


def test_of_a_wide_window_the_legend_says_where_huge_pages_may_begin() -> None:
    program = parse_program("p0: map w 1026 rw private anon\np0: store d[0] 0x11")

    said = " ".join(line.strip() for line in legend(program))

    assert "d[0] is the page at 0x10040000000. w[0] is the page at 0x14000000000; huge pages may begin there" in said
    assert "and at w[512]." in said
