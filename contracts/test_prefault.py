"""Prefault and batches: invisible but for speed."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Map, Store
from harness.program.program import Program


@contract("prefault.budget", catches=("eager-prefault",))
@given(program=drawn(containing=(Map, Store)))
def test_no_more_is_prefaulted_than_declared(guest: Guest, program: Program) -> None:
    """No more untouched pages are present than the kernel's declared prefault budget."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="prefault.budget")


@contract("batch.distinct-zeroed", catches=("batch-not-zeroed",))
@given(program=drawn(containing=(Map, Store, Store)))
def test_frames_of_a_batch_are_distinct_and_zeroed(guest: Guest, program: Program) -> None:
    """Frames handed out in a batch are distinct, zeroed, and counted once each."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="batch.distinct-zeroed")


@contract("alloc.never-twice", catches=("batch-hands-out-twice", "munmap-frees-shared"))
@given(program=drawn(containing=(Map, Store, Store)))
def test_no_frame_is_two_things(guest: Guest, program: Program) -> None:
    """One frame is never two things: mapped private twice, page table and data, free and mapped."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="alloc.never-twice")
