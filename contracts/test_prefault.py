"""Prefault and batches: invisible but for speed."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Load, Map, Store
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
        """
        p0: map b 12 rw private anon
        p0: store b[3] 0x11
        observe
        """,
        """
        p0: map b 6 rw private anon
        p0: fork p1
        p1: map d 6 rw private anon
        p1: map e 6 rw private anon
        observe
        """,
        containing=(Map, Store),
    )
)
def test_no_more_is_prefaulted_than_declared(guest: Guest, program: Program) -> None:
    """No more untouched pages are present than the kernel's declared prefault budget."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="prefault.budget")


@contract(
    "prefault.transparent",
    catches=("prefault-keeps-bytes", "prefault-counts-twice", "prefault-of-wrong-page", "prefault-stores"),
)
@given(
    program=drawn(
        """
        p0: map b 8 rw private anon
        p0: fill b[0] 0x11
        p0: fill b[5] 0x22
        p0: unmap b[0..7]
        p0: map a 3 rw private anon
        observe
        p0: load a[1]
        p0: load a[2]+4095
        """,
        """
        p0: map a 2 rw private anon
        p0: fork p1
        observe
        p1: store a[0] 0x11
        p0: load a[0]
        p0: store a[1] 0x22
        """,
        """
        p0: load data[0]
        p0: load data[1]
        p0: load data[3]
        p0: store data[2] 0x11
        p0: fork p1
        p1: exec
        p1: load data[2]
        """,
        """
        p0: exec written-data
        p0: load data[0]
        p0: exec written-data
        p0: load data[1]
        p0: load data[2]
        """,
        """
        p0: map a 4 rw private f
        p0: load a[2]
        observe
        p0: load a[0]
        p0: load a[1]
        p0: store a[0] 0x11
        """,
        """
        p0: map a 4 rw shared f
        p0: load a[0]
        observe
        p0: store a[1] 0x11
        p0: load a[2]
        """,
        containing=(Map, Load),
    )
)
def test_nobody_can_tell_what_came_early(guest: Guest, program: Program) -> None:
    """Prefaulting (bss, fault-around, exec templates) changes no value and no count rule."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="prefault.transparent")


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
