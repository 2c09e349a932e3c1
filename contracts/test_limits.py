"""Limits of what a process may map."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Brk, Limit, Map, Remap
from harness.program.program import Program


@contract("limit.exact", catches=("limited-map-unmaps-first", "limit-counts-replaced", "remap-ignores-limit"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: limit 2
        p0: map a[1..3] rw private anon
        p0: map a[0..3] r private f
        p0: map a[3..4] rw private anon
        p0: load a[3]
        p0: unmap a[0]
        p0: map a[3..4] rw shared anon
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: limit 1
        p0: remap a[0..1] a[0..3]
        p0: remap a[0..1] a[0..2]
        p0: store a[2] 0x22
        p0: remap a[0] a[3]
        p0: load a[1]
        """,
        """
        p0: map a[3] rw private stack
        p0: store a[3] 0x11
        p0: limit 1
        p0: fork p1
        p1: store a[2] 0x22
        p1: store a[1] 0x33
        p0: brk heap[1]
        p0: brk heap[2]
        p0: store a[2] 0x44
        p0: exec
        p0: brk heap[4]
        """,
        """
        p0: limit 3
        p0: map a 2 rw private anon
        p0: clone p1
        p1: limit 3
        p0: map a[2] rw private anon
        p0: scratch 1
        p1: scratch 2
        p1: scratch 3
        p1: map a[2..3] rw private m
        p0: unmap a[0]
        p0: scratch 1
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: clone p1
        p1: limit 0
        p0: map a[6..7] rw private anon
        p1: remap a[0..1] a[4..5]
        p1: load a[5]
        p1: map a[4] rw private anon
        p1: roam a[4..5] a[0]
        p1: remap a[0] a[0..1]
        """,
        containing=(Limit, Map, Remap, Brk),
        weights={Limit: 6, Map: 8, Remap: 6, Brk: 5},
    )
)
def test_a_limit_of_the_address_space_is_kept_to_the_page(guest: Guest, program: Program) -> None:
    """What would map more than RLIMIT_AS allows fails and changes nothing; what just reaches the limit succeeds."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="limit.exact")
