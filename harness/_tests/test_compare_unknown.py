"""What nobody knows of a kernel: one of the kernels that it may be has to explain all of a run."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.compare import compare
from harness.compare.unknown import Consulted
from harness.compare.verdict import Verdict
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.semantics import Choice, Semantics, changed
from harness.model.step import step
from harness.model_guest import ModelGuest
from harness.program.ops import Store
from harness.program.outcome import Code, Done, Failed, Faulted, Loaded, Outcome, Printed, Received, Signal
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Trace
from harness.program.units import Address
from harness.subject import How
from strategies.programs import programs

OVER_ITSELF = "p0: remap c[10..12] c[11..13]"
"""A move of a hole over itself: EINVAL where the overlap is seen first, EFAULT where the hole is."""


OVERLAP, HOLE = Failed("EINVAL"), Failed("EFAULT")


def verdict(text: str, *outcomes: Outcome, preset: str = "linux") -> Verdict:
    return compare(parse_program(text), Trace(outcomes), PRESETS[preset])


def as_specified(program: Program, semantics: Semantics) -> Trace:
    """The trace of a kernel that is exactly as the model says; of outcomes alone."""
    machine = Machine(semantics)
    outcomes: list[Outcome | None] = []
    for op in program.steps:
        allowed = step(machine, op)
        outcomes.append(allowed.outcomes[0] if allowed.outcomes else None)
        if allowed.adopt is not None and outcomes[-1] is not None:
            allowed.adopt(outcomes[-1])
    return Trace(tuple(outcomes), outputs={n: process.output for n, process in machine.processes.items()})


@pytest.mark.parametrize("preset", ["linux", "any-kernel"])
@pytest.mark.parametrize("outcome", [OVERLAP, HOLE])
def test_a_kernel_that_is_not_known_may_be_any_of_those_that_are(preset: str, outcome: Outcome) -> None:
    assert verdict(OVER_ITSELF, outcome, preset=preset).conforms


@pytest.mark.parametrize(
    ("text", "outcomes"),
    [
        ("p0: try map-wrapping a[0..1]", ("EINVAL",)),
        ("p0: try advise-wrapping a[0..1]", ("ENOMEM",)),
        ("p0: peek a[0] 1", ("EFAULT",)),
        ("p0: force a[0] 0x11", ("EFAULT",)),
        ("p0: map a 2 rw private anon\np0: remap a[0..7] a[0]\np0: load a[1]", (None, "EFAULT", 0)),
        ("p0: map a 2 rw private anon\np0: remap a[0..7] b[0]\np0: load a[1]", (None, "EFAULT", 0)),
    ],
)
def test_where_documents_name_several_errors_a_kernel_may_give_any(
    text: str, outcomes: tuple[str | int | None, ...]
) -> None:
    """A call that fails so has done nothing; a Linux is held to what Linux does."""
    given_ = [Done() if each is None else Failed(each) if isinstance(each, str) else Loaded(each) for each in outcomes]

    assert verdict(text, *given_, preset="any-kernel").conforms
    assert not verdict(text, *given_, preset="linux").conforms


@pytest.mark.parametrize("misuse", ["protect-wrapping", "sync-wrapping"])
def test_where_they_name_one_no_kernel_may_give_another(misuse: str) -> None:
    found = verdict(f"p0: try {misuse} a[0..1]", Failed("EINVAL"), preset="any-kernel").first()

    assert (found.expected, found.contracts) == ("ENOMEM", ("errno.table",))


def test_but_not_one_now_and_another_then() -> None:
    found = verdict(f"{OVER_ITSELF}\n{OVER_ITSELF}", OVERLAP, HOLE)

    assert [each.step for each in found.divergences] == [1]


def test_the_finding_is_that_of_the_kernel_which_explains_most() -> None:
    text = f"{OVER_ITSELF}\np0: map a 1 rw private anon\np0: load a[0]"

    found = verdict(text, OVERLAP, Done(), Loaded(7))

    assert (found.first().step, found.first().contracts[0]) == (2, "zero.fresh-memory")


def test_a_kernel_that_is_known_gets_no_benefit_of_the_doubt() -> None:
    assert verdict(OVER_ITSELF, HOLE, preset="linux-6.1").conforms
    assert not verdict(OVER_ITSELF, OVERLAP, preset="linux-6.1").conforms


def test_what_a_definition_says_of_a_kernel_is_known() -> None:
    known = changed(PRESETS["linux"], {"remap_asks_for_overlap_first": True, "remap_asks_for_mapping_first": False})

    program = parse_program(OVER_ITSELF)

    assert compare(program, Trace((OVERLAP,)), known).conforms
    assert not compare(program, Trace((HOLE,)), known).conforms


NEAR_A_STACK = """
p0: map a[0] rw private anon
p0: map a[2] rw private stack
p0: store a[1] 1
"""
"""A stack that grows right up to other memory: a kernel may keep a gap between the two, of any size, or none."""


def refused(text: str) -> Faulted:
    last = parse_program(text).steps[-1]
    assert isinstance(last, Store)
    return Faulted(Signal.SIGSEGV, Code.MAPERR, last.at)


@pytest.mark.parametrize("outcome", [Done(), refused(NEAR_A_STACK)])
def test_a_kernel_of_which_nothing_is_known_may_keep_no_gap_below_a_stack(outcome: Outcome) -> None:
    found = {preset: verdict(NEAR_A_STACK, Done(), Done(), outcome, preset=preset) for preset in ("linux", "any-kernel")}

    assert found["any-kernel"].conforms
    assert found["linux"].conforms == (outcome != Done())


def test_but_keeps_it_or_not() -> None:
    text = f"{NEAR_A_STACK}p0: map b[0] rw private anon\np0: map b[2] rw private stack\np0: store b[1] 1"

    found = verdict(text, Done(), Done(), Done(), Done(), Done(), refused(text), preset="any-kernel")

    assert [each.step for each in found.divergences] == [5]


def test_the_fields_that_were_asked_for_are_told_in_order() -> None:
    consulted = Consulted(PRESETS["linux"])

    assert consulted.remap_moves_many is False
    assert consulted.write_implies_read is True
    assert list(consulted.asked) == ["remap_moves_many", "write_implies_read"]


WIDER = (
    "prefault_budget", "file_pages_may_appear", "processes_per_kernel_table", "tail_may_come_late", "rss_slack",
    "rss_slack_of_task", "copy_unit", "splice_may_copy", "grown_stack_stays_promised", "calls_may_do_less", "huge_pages",
    "populate_may_do_nothing", "huge_pages_count_as_one", "swaps", "errors_may_differ",
    "pageout_takes_shared",
)  # fmt: skip
"""Fields of which one value allows all that another does."""
WRONG = ("failed_write_extends", "moved_shrink_stays_promised")
"""Fields that no kernel may have: a definition says so of one that is known to be wrong."""
SHIPPED = [each for name, each in PRESETS.items() if name.startswith("linux-")]


@pytest.mark.parametrize("field", [field.name for field in fields(Semantics) if field.name not in ("name", "unknown")])
@pytest.mark.parametrize("preset", ["linux", "any-kernel"])
def test_what_a_known_linux_does_an_unknown_one_may_do(preset: str, field: str) -> None:
    """Each field of each shipped Linux is in the generic presets as it is, or as a choice, or as not known."""
    generic = PRESETS[preset]
    mine = getattr(generic, field)
    others = dict(generic.unknown).get(field, ())

    for linux in SHIPPED:
        theirs = getattr(linux, field)
        wider = getattr(mine, "name", "") == "EITHER" or (field in WIDER and mine)
        assert wider or theirs == mine or theirs in others, linux.name


def test_every_field_of_any_kernel_is_a_choice_or_not_known() -> None:
    """But for those of which one value allows all that another does, and those that are wrong."""
    assert not any(getattr(preset, field) for preset in PRESETS.values() for field in WRONG)
    generic = PRESETS["any-kernel"]
    free = {field.name for field in fields(Semantics) if getattr(getattr(generic, field.name), "name", "") == "EITHER"}

    settled = {field.name for field in fields(Semantics)} - free - set(dict(generic.unknown))

    assert settled == {"name", "unknown", "uname", "maps_tell_files", "maps_tell_bss", *WIDER, *WRONG}


@given(
    program=programs(observe=False), linux=st.sampled_from(SHIPPED), growth=st.sampled_from((Choice.ALWAYS, Choice.NEVER))
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_a_known_linux_does_conforms_where_nothing_is_known(
    program: Program, linux: Semantics, growth: Choice
) -> None:
    trace = as_specified(program, replace(linux, growth_shows_tail=growth))

    for preset in ("linux", "any-kernel"):
        assert compare(program, trace, PRESETS[preset]).conforms


MAPPED = "p0: map a 1 rw private f\np0: store bss[0] 0x22\n"
CHANGED = MAPPED + "p0: write f 0 bss[0] 1\np0: load a[0]"
TOUCHED = MAPPED + "p0: load a[0]\np0: write f 0 bss[0] 1\np0: load a[0]"
GIVEN_BACK = MAPPED + "p0: write f 0 bss[0] 1\np0: advise a[0] dontneed\np0: load a[0]"
OLD, NEW = Loaded(0x40), Loaded(0x22)


@pytest.mark.parametrize("text", [CHANGED, TOUCHED], ids=["before the first touch", "after it"])
@pytest.mark.parametrize("seen", [OLD, NEW])
def test_a_private_mapping_may_show_what_the_file_was_or_what_it_is_where_nothing_is_known(
    text: str, seen: Outcome
) -> None:
    """mmap(2): "It is unspecified whether changes made to the file after the mmap() call are visible"."""
    before = (Done(), Done(), OLD) if text is TOUCHED else (Done(), Done())
    outcomes = (*before, Printed(1), seen)

    assert verdict(text, *outcomes, preset="any-kernel").conforms
    assert verdict(text, *outcomes).conforms == (seen == NEW)


def test_but_nothing_else_and_not_the_old_bytes_after_the_new_ones() -> None:
    again = f"{CHANGED}\np0: load a[0]"

    assert not verdict(CHANGED, Done(), Done(), Printed(1), Loaded(0x33), preset="any-kernel").conforms
    assert not verdict(again, Done(), Done(), Printed(1), NEW, OLD, preset="any-kernel").conforms
    assert verdict(again, Done(), Done(), Printed(1), OLD, OLD, preset="any-kernel").conforms


def test_a_private_mapping_shows_what_the_file_is_once_its_pages_were_given_back() -> None:
    """madvise(2), MADV_DONTNEED: "up-to-date contents of the underlying mapped file"."""
    assert verdict(GIVEN_BACK, Done(), Done(), Printed(1), Done(), NEW, preset="any-kernel").conforms
    assert not verdict(GIVEN_BACK, Done(), Done(), Printed(1), Done(), OLD, preset="any-kernel").conforms


CUT = "p0: map a 2 rw private f\np0: store a[1] 0x11\np0: truncate f 4096\n"
GONE = Faulted(Signal.SIGBUS, Code.ADRERR, Address("a", 1))


@pytest.mark.parametrize("answer", [GONE, Loaded(0x11), Loaded(0x55)])
def test_what_a_file_loses_may_be_there_still_where_nothing_is_known(answer: Outcome) -> None:
    """mmap(2): the effect "on the pages that correspond to added or removed regions of the file is unspecified"."""
    before = (Done(), Done(), Done())

    assert verdict(f"{CUT}p0: load a[1]", *before, answer, preset="any-kernel").conforms
    assert verdict(f"{CUT}p0: load a[1]", *before, answer).conforms == (answer == GONE)
    assert not verdict(f"{CUT}p0: load a[0]", *before, Loaded(0x55), preset="any-kernel").conforms
    assert not verdict(f"{CUT}p0: unmap a[1]\np0: load a[1]", *before, Done(), answer, preset="any-kernel").conforms


PART = "p0: map a 1 rw private anon\np0: store a[0]+4095 0x11\n"
READ, WRITTEN = PART + "p0: read g 0 a[0]+4092 12", PART + "p0: write f 0 a[0]+4092 12"
AT_END = PART + "p0: truncate f 2\np0: read f 0 a[0]+4092 12"


@pytest.mark.parametrize(
    ("text", "outcomes", "is_linux"),
    [
        (READ, (Received(4),), True),
        (READ, (Failed("EFAULT"),), False),
        (WRITTEN, (Printed(4),), True),
        (WRITTEN, (Failed("EFAULT"),), False),
        (AT_END, (Done(), Received(2)), True),
        (AT_END, (Done(), Failed("EFAULT")), False),
    ],
)
def test_a_buffer_of_which_a_part_is_not_accessible_may_be_refused_whole(
    text: str, outcomes: tuple[Outcome, ...], is_linux: bool
) -> None:
    """read(2), write(2): "EFAULT: buf is outside your accessible address space"."""
    assert verdict(text, Done(), Done(), *outcomes, preset="any-kernel").conforms
    assert verdict(text, Done(), Done(), *outcomes, preset="linux-6.1").conforms == is_linux


@pytest.mark.parametrize("answer", [Failed("EFAULT"), Printed(1)])
def test_the_kernel_may_refuse_to_read_what_only_the_hardware_lets_be_read(answer: Outcome) -> None:
    text = "p0: map a 1 rw private anon\np0: protect a[0] x\np0: load a[0]\np0: write f 0 a[0] 1"

    assert verdict(text, Done(), Done(), Loaded(0), answer, preset="any-kernel").conforms
    assert verdict(text, Done(), Done(), Loaded(0), answer).conforms == (answer == Printed(1))


COPIED = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: load a[1]
p0: fork p1
observe
p1: store a[0] 0x22
p0: store a[0] 0x33
p1: load a[0]
p1: fork p2
p2: load a[0]
observe
p0: crowd 3
p0: load data[0]
"""


def test_a_kernel_without_copy_on_write_is_right_where_nothing_is_known_of_it() -> None:
    program = parse_program(COPIED)
    trace = ModelGuest(["fork-copies-at-once"]).execute(program, How())

    assert compare(program, trace, PRESETS["any-kernel"]).conforms
    assert "fork.shares-frames" in compare(program, trace, PRESETS["model"]).contracts


@pytest.mark.parametrize(("preset", "is_right"), [("model", False), ("any-kernel", True)])
def test_a_kernel_may_count_who_holds_a_huge_page_once_for_all_of_it(preset: str, is_right: bool) -> None:
    program = parse_program("p0: map w 1026 rw private anon\np0: store w[1] 0x11\np0: fork p1\n")
    trace = ModelGuest(["huge-fork-counts-once"]).execute(program, How())
    broken = compare(program, replace(trace, leftover=None), replace(PRESETS[preset], huge_pages=True)).contracts

    assert ("count.equals-references" not in broken) == is_right
