"""mprotect: the last word counts, and isolation stands."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Protect, Store
from harness.program.program import Program


@contract("mprotect.last-one-counts", catches=("mprotect-keeps-cow-right",))
@given(program=drawn(containing=(Store, Protect, Store)))
def test_the_last_protection_counts(guest: Guest, program: Program) -> None:
    """Access depends on the last protection only, not on history, sharing, fork or residency."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mprotect.last-one-counts")


@contract("mprotect.never-breaks-isolation", catches=("mprotect-keeps-cow-right",))
@given(program=drawn(containing=(Store, Fork, Protect, Store)))
def test_mprotect_never_breaks_isolation(guest: Guest, program: Program) -> None:
    """mprotect never makes a shared frame writable, and takes away a pending right to write."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mprotect.never-breaks-isolation")
