"""mprotect: the last word counts, and isolation stands."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import CHILD_STORES_AFTER_A_ROUND_TRIP, STORE_TO_WHAT_IS_READ_ONLY_NOW
from harness.program.ops import Fork, Protect, Store
from harness.program.program import Program


@contract("mprotect.last-one-counts", catches=("mprotect-keeps-cow-right",))
@given(
    program=drawn(
        STORE_TO_WHAT_IS_READ_ONLY_NOW,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: protect a[0] r
        p0: store a[0] 0x22
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] none
        p0: load a[0]
        p0: protect a[0] rw
        p0: store a[0] 0x22
        """,
        containing=(Store, Protect, Store),
    )
)
def test_the_last_protection_counts(guest: Guest, program: Program) -> None:
    """Access depends on the last protection only, not on history, sharing, fork or residency."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mprotect.last-one-counts")


@contract("mprotect.never-breaks-isolation", catches=("mprotect-grants-shared-write", "mprotect-keeps-cow-right"))
@given(
    program=drawn(
        CHILD_STORES_AFTER_A_ROUND_TRIP,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] r
        p0: fork p1
        p0: protect a[0] rw
        p0: store a[0] 0x22
        p1: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: protect a[0] r
        p1: store a[0] 0x22
        """,
        containing=(Store, Fork, Protect, Store),
    )
)
def test_mprotect_never_breaks_isolation(guest: Guest, program: Program) -> None:
    """Mprotect never makes a shared frame writable, and takes away a pending right to write."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mprotect.never-breaks-isolation")
