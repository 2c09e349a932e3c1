"""What calls on memory make of unusual arguments, in the model: which errors, and what is changed where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import ProgramError
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.semantics import Choice, Semantics
from harness.model.step import step
from harness.program.outcome import Done, Failed, Outcome, Printed
from harness.program.text import format_op, parse_op, parse_program

LINUX = PRESETS["linux-6.1"]

TWO_PAGES = "p0: map a 2 rw private anon\n"
BOTH_MODES = "p0: map a[0] rw shared f\np0: map a[1] r shared f+1:r\n"


def run(text: str, semantics: Semantics = LINUX) -> tuple[Machine, list[tuple[Outcome, ...]]]:
    machine = Machine(semantics)
    return machine, [step(machine, op).outcomes for op in parse_program(text).steps]


def last(text: str, semantics: Semantics = LINUX) -> tuple[Outcome, ...]:
    return run(text, semantics)[1][-1]


def prots(machine: Machine) -> list[str]:
    """The protection of each page that is mapped in window a."""
    first = parse_program("p0: unmap a[0]").steps[0].pages.vpn  # type: ignore[attr-defined]
    vmas = machine.process(0).memory.vmas
    return [str(vma.prot) for vpn in range(first, first + 16) if (vma := vmas.find(vpn))]


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        ("map a 1 r shared f:r", ""),
        ("map a 1 rw shared f:r", "EACCES"),
        ("map a 1 rw private f:r", ""),
        ("map a 1 none private f:w", "EACCES"),
        ("map a 1 w shared f:w", "EACCES"),
    ],
)
def test_a_mapping_takes_what_its_descriptor_allows(call: str, errno: str) -> None:
    assert last(f"p0: {call}") == ((Failed(errno),) if errno else (Done(),))


def test_mprotect_stops_at_what_must_not_be_written_and_has_changed_what_is_before() -> None:
    machine, outcomes = run(f"{BOTH_MODES}p0: protect a[0] r\np0: protect a[0..1] rw")

    assert outcomes[-1] == (Failed("EACCES"),)
    assert prots(machine) == ["rw", "r"]


def test_a_kernel_that_looks_first_changes_nothing_and_may_say_either_error() -> None:
    careful = replace(LINUX, protect_changes_before_hole=False)

    machine, outcomes = run(f"{BOTH_MODES}p0: protect a[0] r\np0: protect a[0..2] rw", careful)

    assert set(outcomes[-1]) == {Failed("EACCES"), Failed("ENOMEM")}
    assert prots(machine) == ["r", "r"]


def test_a_part_of_a_page_is_the_page_and_no_length_is_none() -> None:
    machine, outcomes = run(f"{TWO_PAGES}p0: protect a[0..1]-4095 r\np0: protect a[0]-4096 none\np0: advise c[0]-4096 free")

    assert outcomes[1:] == [(Done(),)] * 3
    assert prots(machine) == ["r", "r"]
    assert len(machine.process(0).memory.vmas.parts(0, 1 << 36)) == len(Machine(LINUX).process(0).memory.vmas) + 1


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        ("map a[1..2] rw private anon noreplace", {"EEXIST"}),
        ("map a[2] rw private anon noreplace", {""}),
        ("map a[1..2] rw shared f:r noreplace", {"EEXIST", "EACCES"}),
        ("map a[1..2] rw private anon hint", {"EEXIST"}),
        ("map a[2..3] rw private anon hint", {""}),
    ],
)
def test_what_is_not_fixed_replaces_nothing(call: str, allowed: set[str]) -> None:
    machine, outcomes = run(f"{TWO_PAGES}p0: {call}")

    assert {each.errno if isinstance(each, Failed) else "" for each in outcomes[-1]} == allowed
    assert len(prots(machine)) > 2 or allowed != {""}


def test_a_hint_below_a_stack_or_to_an_unknown_kernel_may_lead_elsewhere() -> None:
    either = {Done(), Failed("EEXIST")}

    assert set(last("p0: map b[9] rw private stack\np0: map b[8] rw private anon hint")) == either
    assert set(last("p0: map a 1 rw private anon hint", replace(LINUX, hint_is_taken=Choice.EITHER))) == either


def test_a_second_mapping_is_of_the_same_memory_at_the_same_offset() -> None:
    machine, _ = run("p0: map a 2 rw shared f\np0: store a[1] 0x11\np0: remap a[1]-4096 b[0..1]\np0: load b[0]")
    entries = dict(machine.process(0).memory.page_table.walk())
    first, second = (parse_program(f"p0: load {at}").steps[0].at.vpn for at in ("a[1]", "b[0]"))  # type: ignore[attr-defined]

    assert entries[first].frame is entries[second].frame


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        ("remap a[0]-4096 b[0]", {Failed("EINVAL")}),
        ("remap a[0]-4096 a[0..1]", {Failed("ENOMEM"), Failed("EINVAL")}),
        ("remap c[0]-4096 b[0]", {Failed("EFAULT")}),
    ],
)
def test_private_memory_is_mapped_once(call: str, allowed: set[Outcome]) -> None:
    assert set(last(f"{TWO_PAGES}p0: {call}")) == allowed


def test_before_linux_4_14_private_memory_had_a_mapping_like_it() -> None:
    assert last(f"{TWO_PAGES}p0: remap a[0]-4096 b[0]", replace(LINUX, private_mappings_duplicate=True)) == (Done(),)


@pytest.mark.parametrize(
    ("call", "outcome", "replaces"),
    [
        ("roam a[0] a[5..6]", Done(), True),
        ("roam a[0..1] a[5]", Done(), True),
        ("roam a[1..2] a[5..6]", Failed("EFAULT"), True),  # the first call asks for one mapping only where it is to grow
        ("roam a[1..2] a[5..7]", Failed("EFAULT"), False),
        ("roam a[0]-4096 a[5]", Failed("EINVAL"), False),
    ],
)
def test_of_two_moves_the_second_replaces_what_is_there_if_the_first_is_done(
    call: str, outcome: Outcome, replaces: bool
) -> None:
    machine, outcomes = run(f"{TWO_PAGES}p0: map a[5..6] r shared anon\np0: {call}")

    assert outcomes[-1] == (outcome,)
    assert (prots(machine)[2:4] != ["r", "r"]) is replaces


def test_the_first_of_two_moves_is_held_to_the_limit_alone() -> None:
    filled = f"{TWO_PAGES}p0: map b 2 r private anon\np0: limit 0\n"

    assert last(f"{filled}p0: remap a[0] b[0..1]") == (Done(),)
    assert last(f"{filled}p0: roam a[0] b[0..1]") == (Failed("ENOMEM"),)


def test_the_break_stays_where_it_is_when_it_is_to_go_below_the_heap() -> None:
    machine, outcomes = run("p0: brk heap[1]\np0: brk data[0]+100")

    assert outcomes == [(Done(),), (Failed("ENOMEM"),)]
    assert machine.process(0).memory.brk > machine.process(0).memory.brk_start


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ("peek a[0]+4090 17", Printed(17)),
        ("peek a[1]+4090 17", Printed(6)),
        ("peek a[2] 1", Failed("EIO")),
        ("force a[0]+4090 0x22 17", Done()),
        ("force a[1]+4090 0x22 17", Printed(6)),
        ("force a[2] 0x22 17", Failed("EIO")),
    ],
)
def test_memory_is_reached_past_its_protection_up_to_a_page_that_is_not_there(call: str, outcome: Outcome) -> None:
    assert last(f"{TWO_PAGES}p0: store a[1] 0x11\np0: protect a[0..1] none\np0: {call}") == (outcome,)


@pytest.mark.parametrize("taken", ["peek a[0] 1", "advise a[0] populate-read", "pin a[0]"])
def test_what_the_kernel_takes_leaves_an_access_flag_as_it_is(taken: str) -> None:
    text = f"{TWO_PAGES}p0: store a[0] 0x11\np0: fork p1\np1: {taken}\np1: load a[0]"

    machine, _ = run(text, PRESETS["linux-6.1-arm64"])

    assert machine.last_faults_range == (0, 1)


@pytest.mark.parametrize(("preset", "most"), [("linux-6.1-arm64", 1), ("linux-6.1", 0)])
@pytest.mark.parametrize("taken", ["force a[0] 0x11", "advise a[0] populate-write", "fix a[0]"])
def test_what_the_kernel_stores_to_a_shared_page_leaves_a_dirty_flag_as_it_is(taken: str, preset: str, most: int) -> None:
    text = f"p0: map a 1 rw shared anon\np0: load a[0]\np0: {taken}\np0: store a[0] 0x22"

    machine, _ = run(text, PRESETS[preset])

    assert machine.last_faults_range == (0, most)
    step(machine, parse_program("p0: store a[0] 0x33").steps[0])
    assert machine.last_faults_range == (0, 0)


@pytest.mark.parametrize(
    "line",
    [
        "p0: map a[1..2]-100 rw private f+2:r noreplace",
        "p0: map a 2 rw private anon hint",
        "p0: map a 2 rw private anon fixed populate",
        "p0: map a 2 rw private anon",
        "p0: remap a[0]-4096 b[0..1]-4095",
        "p0: roam a[0..1]-100 b[0..2]-100",
        "p0: force a[0]+1 0x22",
        "p0: force a[0]+1 0x22 17",
        "p0: exec",
        "p0: exec small",
    ],
)
def test_unusual_arguments_read_back(line: str) -> None:
    assert format_op(parse_op(line)) == line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("p0: map a 1 r shared m:r", "m is no regular file"),
        ("p0: map a 1 r private anon:r", "anon is no regular file"),
        ("p0: unmap a[0]-4096", "takes no empty range"),
        ("p0: remap a[0] b[0]-4096", "takes no empty range"),
        ("p0: roam a[0..1] a[2..4]", "none of its pages"),
        ("p0: protect a[0..1]-4096 r", "has a byte of the last one"),
        ("p0: try unmap-length-0 a[0]-1", "takes whole pages"),
        ("p0: brk data[1]", "or asked for below it, in data"),
        ("p0: map a 1 rw private anon anywhere", "not one of: fixed, noreplace, hint"),
        ("p0: mirror a 1 r shared f fixed populate", "it is of MAP_FIXED alone"),
        ("p0: map a 1 rw private", "map takes 4 to 6 operands"),
    ],
)
def test_what_no_call_can_be_given_is_refused(line: str, why: str) -> None:
    with pytest.raises(ProgramError, match=why):
        parse_program(line)
