"""Stacks: memory that grows downwards when it is touched."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Load, Store
from harness.program.program import Program


@contract(
    "stack.grows",
    catches=("stack-no-guard", "stack-gap-too-small", "stack-gap-too-large", "split-loses-growth", "remap-loses-growth"),
)
@given(
    program=drawn(
        """
        p0: map a[3..4] rw private stack
        p0: store a[3] 0x11
        p0: protect a[4] r
        p0: store a[2] 0x22
        p0: load a[2]
        """,
        """
        p0: map a[3] rw private stack
        p0: store a[2] 0x11
        p0: load a[0]
        p0: fork p1
        p1: store a[1] 0x22
        p0: load a[2]
        """,
        """
        p0: map a[0] rw private anon
        p0: map a[3] rw private stack
        p0: store a[2] 0x11
        p0: protect a[0] none
        p0: store a[2] 0x11
        """,
        """
        p0: map d[15] rw private anon
        p0: map h[9] rw private stack
        p0: store h[8] 0x11
        p0: store h[7] 0x22
        p0: protect d[15] none
        p0: store h[7] 0x33
        """,
        """
        p0: map d[14] rw private anon
        p0: map h[9] rw private stack
        p0: load h[8]
        p0: fork p1
        p1: store h[6] 0x11
        p1: store h[7] 0x22
        """,
        """
        p0: map a[2] rw private stack
        p0: store a[2] 0x11
        p0: remap a[2] a[8]
        p0: store a[7] 0x22
        """,
        """
        p0: map a[3] r private stack
        p0: store a[2] 0x11
        p0: unmap a[3]
        p0: load a[1]
        """,
        containing=(Store, Load),
    )
)
def test_a_stack_grows_and_keeps_its_distance(guest: Guest, program: Program) -> None:
    """A stack grows to a page below it that is touched, up to its limit, and not into the guard gap above other memory."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="stack.grows")
