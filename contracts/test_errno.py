"""Calls that must fail, and memory that the kernel chooses a place for."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Kill, Map, Misuse, Scratch, Store, Sync, Try, Unmap, Wait
from harness.program.program import Program

MISUSES = [misuse.value for misuse in Misuse]
AT_A_TIME = 6
"""So many calls fail in one story, so that each of them is met in every run."""


def in_vain(misuses: list[str]) -> str:
    """Write a story in which each of these calls fails, and leaves the memory that it names as it is."""
    tries = "".join(f"p0: try {misuse} a[0..1]\n" for misuse in misuses)
    return f"p0: map a 2 rw private anon\np0: store a[0] 0x11\n{tries}p0: load a[0]"


@contract("errno.table", catches=("errno-wrong", "length-wraps", "remap-length-wraps"))
@given(
    program=drawn(
        *(in_vain(MISUSES[at : at + AT_A_TIME]) for at in range(0, len(MISUSES), AT_A_TIME)),
        containing=(Try, Try, Try),
        weights={Try: 12},
    )
)
def test_bad_arguments_fail_as_documented(guest: Guest, program: Program) -> None:
    """A system call fails with the documented errno, or does what it is documented to do."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="errno.table")


@contract("errno.table", catches=("sync-forgets-hole",))
@given(
    program=drawn(
        """
        p0: map a[0] rw private anon
        p0: map a[2..3] rw shared f
        p0: store a[2] 0x11
        p0: sync a[0..3]
        p0: sync a[1..2]
        p0: sync a[3..4]
        p0: sync a[2..3]
        """,
        """
        p0: map a[0] rw private anon
        p0: map a[2] rw private anon
        p0: map a[3] r private f
        p0: store a[2] 0x11
        p0: advise a[0..3] dontneed
        p0: load a[2]
        p0: store a[2] 0x22
        p0: advise a[1..3] free
        p0: advise a[0..4] populate-write
        """,
        """
        p0: map a[0] r private anon
        p0: map a[1] rw private anon
        p0: map a[2] r shared anon
        p0: store a[1] 0x11
        p0: protect a[0..2] none
        p0: load a[2]
        p0: protect a[0..3] rw
        p0: store a[2] 0x22
        p0: unmap a[0..3]
        """,
        containing=(Map, Sync, Unmap),
    )
)
def test_what_is_done_to_a_range_with_holes_tells_of_them(guest: Guest, program: Program) -> None:
    """A system call fails with the documented errno, or does what it is documented to do."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="errno.table")


@contract("errno.table", catches=("kill-finds-nobody", "kill-misses-zombie"))
@given(
    program=drawn(
        """
        p0: fork p1
        p0: fork p2
        p1: exit 7
        p2: kill p1
        p0: wait p1
        p2: kill p1
        """,
        containing=(Fork, Kill, Wait),
    )
)
def test_who_has_ended_can_be_killed_until_waited_for(guest: Guest, program: Program) -> None:
    """A system call fails with the documented errno, or does what it is documented to do."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="errno.table")


@contract("mmap.geometry", catches=("mmap-chooses-taken", "mmap-chooses-overlapping"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        p0: scratch 4
        p0: load a[0]
        """,
        containing=(Map, Store, Scratch),
    )
)
def test_a_chosen_place_is_free(guest: Guest, program: Program) -> None:
    """VMAs are page-aligned, sorted, non-empty and disjoint, and are exactly those that were asked for."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.geometry")
