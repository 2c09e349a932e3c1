"""Page faults: what fresh memory holds, and what a forbidden access gets."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Load, Map, Observe, Protect, Store
from harness.program.program import Program


@contract("zero.fresh-memory", catches=("batch-not-zeroed",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fill a[0] 0x11
        p0: unmap a[0]
        p0: map a 2 rw private anon
        p0: load a[0]
        """,
        """
        p0: map a 1 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p1: fill a[0] 0x22
        p1: exit 0
        p0: map a[1..3] rw private anon
        p0: store a[1] 0x01
        p0: load a[1]+1
        p0: store a[2] 0x01
        p0: load a[2]+1
        """,
        containing=(Map, Load),
    )
)
def test_fresh_memory_reads_zero(guest: Guest, program: Program) -> None:
    """Every byte of newly mapped or bss memory reads zero."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="zero.fresh-memory")


@contract("zero.page-stays-zero", catches=("zero-page-is-written", "load-takes-frame"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: load a[0]
        p0: store a[0] 0x11
        p0: load a[1]
        """,
        """
        p0: map a 1 r private anon
        p0: load a[0]
        p0: fork p1
        p1: protect a[0] rw
        p1: store a[0] 0x11
        p0: load a[0]
        """,
        containing=(Load, Store),
    )
)
def test_the_zero_page_stays_zero(guest: Guest, program: Program) -> None:
    """The zero page reads zero for everybody, for ever; a write gets a frame of its own."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="zero.page-stays-zero")


@contract("fault.signal", catches=("segv-says-accerr", "sigbus-before-protection"))
@given(
    program=drawn(
        """
        p0: map a 3 rw private f
        p0: protect a[1..2] none
        p0: truncate f 4096
        p0: load a[1]
        p0: protect a[2] r
        p0: store a[2] 0x11
        p0: load a[2]
        """,
        containing=(Protect, Store),
    )
)
def test_a_forbidden_access_gives_one_exact_signal(guest: Guest, program: Program) -> None:
    """A forbidden access gives one SIGSEGV with the right si_code and si_addr; an allowed one completes."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fault.signal")


@contract("page.present", catches=("load-brings-neighbour",))
@given(program=drawn(containing=(Store, Observe)))
def test_a_page_is_present_once_it_was_touched(guest: Guest, program: Program) -> None:
    """A page is present once it was touched, and until it is unmapped."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="page.present")


@contract("store.load", catches=("store-lost-in-fault",))
@given(program=drawn(containing=(Store, Load)))
def test_a_load_returns_the_last_store(guest: Guest, program: Program) -> None:
    """A load returns the last byte that the process, or the ancestor it was forked from, stored there."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="store.load")
