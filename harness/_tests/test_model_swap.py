"""Pages that may be in swap: who holds them, what brings them back, and what of it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.compare import compare
from harness.guests import semantics_of
from harness.model.adopt import Presence, adopt_presence, doubtful_frames, expected_pages
from harness.model.counts import held, reference_index
from harness.model.frame import Frame, FrameKind
from harness.model.invariants import broken
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.presets import LINUX_6_1
from harness.model.step import step
from harness.model_guest import ModelGuest
from harness.model_guest.features import Feature
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME
from harness.subject import How

SWAPS = replace(LINUX_6_1, swaps=True)
BEGIN = "p0: map a 2 rw private anon\np0: store a[0] 0x11\n"
OUT = "p0: advise a[0] pageout\n"
VPN = WINDOW_BY_NAME["a"].vpn


def after(text: str, *, out: tuple[int, ...] = ()) -> Machine:
    """Do the steps; the page a[0] of processes `out` was seen to be in swap right after the first pageout."""
    machine = Machine(SWAPS)
    for op in parse_program(BEGIN + text).steps:
        step(machine, op)
        assert broken(machine) == []
        if op.verb == "advise":
            for number in out:
                adopt_presence(machine, number, VPN, present=False)
    return machine


def entry(machine: Machine, number: int = 0) -> PTE:
    pte = machine.process(number).memory.page_table.lookup(VPN)
    assert pte is not None
    return pte


def counts(machine: Machine, frame: Frame) -> tuple[int, int]:
    """Give how many entries a kernel counts with the frame, and how many hold it all the same."""
    holders = reference_index(machine)[frame]
    return holders.references, holders.held


def test_a_page_that_was_paged_out_may_be_there_or_not() -> None:
    machine = after(OUT)

    assert expected_pages(machine, 0)[VPN].presence is Presence.OPTIONAL
    assert entry(machine).frame.may_move
    adopt_presence(machine, 0, VPN, present=True)
    assert expected_pages(machine, 0)[VPN].presence is Presence.REQUIRED
    assert counts(machine, entry(machine).frame) == (1, 1)


def test_a_page_in_swap_keeps_its_bytes_and_nobody_counts_it() -> None:
    machine = after(OUT, out=(0,))

    assert counts(machine, entry(machine).frame) == (0, 1)
    assert expected_pages(machine, 0)[VPN].content == b"\x11" + bytes(4095)


def test_without_swap_what_was_stored_stays() -> None:
    machine = Machine(LINUX_6_1)
    for op in parse_program(BEGIN + OUT).steps:
        step(machine, op)

    assert expected_pages(machine, 0)[VPN].presence is Presence.REQUIRED


def test_a_fork_shares_what_is_in_swap_and_a_store_to_it_is_copied() -> None:
    machine = after(OUT + "p0: fork p1\np0: store a[0] 0x22", out=(0,))

    assert entry(machine).frame is not entry(machine, 1).frame
    assert entry(machine, 1).swapped
    assert held(machine, entry(machine, 1).frame) == 1


def test_who_is_left_with_a_page_in_swap_stores_to_it_as_it_is() -> None:
    machine = after(OUT + "p0: fork p1\np1: exit 0\np0: store a[0] 0x22", out=(0,))

    assert counts(machine, entry(machine).frame) == (1, 1)
    assert machine.reach["cow.copy"] == 0


@pytest.mark.parametrize("touch", ["p0: load a[0]", "p0: store a[0] 0x22", "p0: pin a[0]", "p0: receive pipe a[0] 8 0x33"])
def test_a_touch_brings_it_back_in_one_fault_or_two(touch: str) -> None:
    machine = after(OUT + touch, out=(0,))

    assert not entry(machine).swapped
    assert machine.last_faults <= 2
    assert counts(machine, entry(machine).frame)[0] >= 1


def test_what_a_pipe_holds_keeps_its_frame() -> None:
    assert not entry(after("p0: pin a[0]\n" + OUT)).frame.may_move


def test_a_frame_that_is_back_may_be_exclusive_though_its_page_was_shared() -> None:
    frame = entry(after("p0: fork p1\np1: exit 0\n" + OUT + "p0: load a[0]", out=(0,))).frame

    assert (frame.exclusive, frame.doubtful_owner) == (True, True)


def test_counts_are_in_doubt_where_a_process_that_does_nothing_may_have_it_in_swap() -> None:
    machine = after(OUT + "p0: crowd 3", out=(0,))

    assert entry(machine).frame in doubtful_frames(machine)


@pytest.mark.parametrize("drop", ["p0: unmap a[0]", "p0: advise a[0] dontneed", "p0: map a[0] r private anon", "p0: exec"])
def test_what_was_in_swap_goes_with_its_last_holder(drop: str) -> None:
    machine = after(OUT, out=(0,))
    frame = entry(machine).frame
    for op in parse_program(BEGIN + OUT + drop).steps[3:]:
        step(machine, op)

    assert frame.kind is FrameKind.FREE


# ------------------------------------------------------------------------------ slots


@pytest.fixture
def toy() -> Iterator[ModelGuest]:
    guest = ModelGuest(features=(Feature.SWAP,))
    yield guest
    guest.close()


@pytest.mark.parametrize("lost", [0, 1])
def test_a_slot_that_is_lost_is_a_finding(toy: ModelGuest, lost: int) -> None:
    program = parse_program(BEGIN + OUT)
    trace = toy.execute(program, How(accounting=True))
    assert trace.after is not None
    assert trace.after.free_slots is not None

    fewer = replace(trace, after=replace(trace.after, free_slots=trace.after.free_slots - lost))
    verdict = compare(program, fewer, semantics_of(toy))

    assert verdict.conforms == (lost == 0)
    assert lost == 0 or "account.swap" in verdict.contracts


@pytest.mark.parametrize(("lost", "conforms"), [(1, True), (2, False)])
def test_pages_of_the_image_may_stay_in_swap_as_they_stay_in_memory(toy: ModelGuest, lost: int, conforms: bool) -> None:
    program = parse_program("p0: load data[0]\np0: advise data[0] pageout")
    trace = toy.execute(program, How(accounting=True))
    assert trace.after is not None
    assert trace.after.free_slots is not None

    fewer = replace(trace, after=replace(trace.after, free_slots=trace.after.free_slots - lost))

    assert compare(program, fewer, semantics_of(toy)).conforms == conforms


# ------------------------------------------------------------------------------ what others map, too


@pytest.mark.parametrize("taken", [False, True])
def test_a_kernel_may_take_what_others_map_too_or_leave_it(taken: bool) -> None:
    machine = Machine(replace(SWAPS, pageout_takes_shared=taken))
    for op in parse_program(BEGIN + "p0: fork p1\n" + OUT).steps:
        step(machine, op)

    presence = expected_pages(machine, 1)[VPN].presence

    assert presence is (Presence.OPTIONAL if taken else Presence.REQUIRED)
