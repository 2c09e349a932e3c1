"""Counts: the kernel's numbers are the numbers of holders."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Exit, Fork, Store
from harness.program.program import Program


@contract("count.equals-references", catches=("fork-forgets-ref", "fork-skips-prot-none"))
@given(program=drawn(containing=(Fork, Store)))
def test_refcounts_equal_references(guest: Guest, program: Program) -> None:
    """The refcount of every frame equals its references: the page-table entries that map it, plus the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.equals-references")


@contract("count.mapcount")
@given(program=drawn(containing=(Fork, Store)))
def test_mapcounts_equal_the_entries_that_map(guest: Guest, program: Program) -> None:
    """The kernel's mapcount of a frame equals the number of page-table entries that map it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.mapcount")


@contract("count.no-inflation", catches=("no-vm-drop",))
@given(program=drawn(containing=(Store, Fork, Exit)))
def test_rounds_of_fork_and_exit_or_exec_inflate_nothing(guest: Guest, program: Program) -> None:
    """Rounds of fork+exec and fork+exit leave each count where one round left it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.no-inflation")
