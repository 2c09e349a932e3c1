"""Page faults: what fresh memory holds, and what a forbidden access gets."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Load, Map, Observe, Protect, Store
from harness.program.program import Program


@contract("zero.fresh-memory", catches=("batch-not-zeroed",))
@given(program=drawn(containing=(Map, Load)))
def test_fresh_memory_reads_zero(guest: Guest, program: Program) -> None:
    """Every byte of newly mapped or bss memory reads zero."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="zero.fresh-memory")


@contract("zero.page-stays-zero")
@given(program=drawn(containing=(Load, Store)))
def test_the_zero_page_stays_zero(guest: Guest, program: Program) -> None:
    """The zero page reads zero for everybody, for ever; a write gets a frame of its own."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="zero.page-stays-zero")


@contract("fault.signal")
@given(program=drawn(containing=(Protect, Store)))
def test_a_forbidden_access_gives_one_exact_signal(guest: Guest, program: Program) -> None:
    """A forbidden access gives one SIGSEGV with the right si_code and si_addr; an allowed one completes."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fault.signal")


@contract("page.present")
@given(program=drawn(containing=(Store, Observe)))
def test_a_page_is_present_once_it_was_touched(guest: Guest, program: Program) -> None:
    """A page is present once it was touched, and until it is unmapped."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="page.present")


@contract("store.load")
@given(program=drawn(containing=(Store, Load)))
def test_a_load_returns_the_last_store(guest: Guest, program: Program) -> None:
    """A load returns the last byte that the process, or the ancestor it was forked from, stored there."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="store.load")
