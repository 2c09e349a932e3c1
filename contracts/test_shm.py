"""Shared memory of System V: another way to the same memory, which is counted in another way."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Map, Store
from harness.program.program import Program


@contract(
    "shm.lives-while-attached",
    catches=("shm-fork-forgets-attach", "shm-exit-keeps-segment", "shm-detach-of-part-ends-segment"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw shared shm
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[1] 0x22
        p1: exit 0
        p0: load a[1]
        p0: store a[0] 0x33
        p0: fork p2
        p2: load a[0]
        """,
        """
        p0: map a 4 rw shared shm
        p0: store a[0] 0x11
        p0: store a[3] 0x22
        p0: fork p1
        p0: unmap a[0..1]
        p1: load a[0]
        p1: unmap a[1..2]
        p0: load a[3]
        p0: fork p2
        p2: load a[3]
        p1: exit 0
        p2: exit 0
        """,
        """
        p0: map a 2 rw shared shm
        p0: fill a[1] 0x11
        p0: fork p1
        p0: exec
        p1: load a[1]
        p1: map a 2 rw shared shm
        p1: load a[1]
        """,
        containing=(Map, Store),
    )
)
def test_a_segment_lives_while_somebody_has_it(guest: Guest, program: Program) -> None:
    """A segment of System V is one memory for all who have it attached, and goes, once removed, with the last of them."""
    verdict = guest.run(program, whole=True)

    assert_conforms(verdict, to="shm.lives-while-attached")
