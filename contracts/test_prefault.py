"""Prefault and batches: invisible but for speed."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Map, Store
from harness.program.program import Program


@contract("prefault.budget", catches=("eager-prefault",))
@given(
    program=drawn(
        """
        p0: exec large-bss
        p0: load bssend[3]
        p0: store heap[1] 0x11
        observe
        """,
        """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        observe
        """,
        containing=(Map, Store),
    )
)
def test_no_more_is_prefaulted_than_declared(guest: Guest, program: Program) -> None:
    """No more untouched pages are present than the kernel's declared prefault budget."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="prefault.budget")


@contract("batch.distinct-zeroed", catches=("batch-not-zeroed",))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: fill a[0] 0x11
        p0: unmap a[0]
        p0: store a[1] 0x22
        p0: store a[2] 0x33
        observe
        p0: load a[1]+1
        """,
        containing=(Map, Store, Store),
    )
)
def test_frames_of_a_batch_are_distinct_and_zeroed(guest: Guest, program: Program) -> None:
    """Frames handed out in a batch are distinct, zeroed, and counted once each."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="batch.distinct-zeroed")


@contract("alloc.never-twice", catches=("batch-hands-out-twice", "munmap-frees-shared"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: unmap a[0]
        p1: map a[1] rw private anon
        p1: store a[1] 0x22
        p0: load a[0]
        """,
        containing=(Map, Store, Store),
    )
)
def test_no_frame_is_two_things(guest: Guest, program: Program) -> None:
    """One frame is never two things: mapped private twice, page table and data, free and mapped."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="alloc.never-twice")
