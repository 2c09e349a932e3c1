"""Swap: what was paged out is as if it had never been away."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Advise, Fork, Load, Store
from harness.program.program import Program


@contract("swap.transparent", catches=("swap-writes-half", "swap-writes-once", "swap-takes-fixed-buffer"))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: advise a[0..2] pageout
        p0: load a[0]+4095
        p0: store a[0] 0x33
        p0: advise a[0] pageout
        p0: load a[0]
        p0: load a[1]+2048
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: advise a[0] pageout
        p0: fork p2
        p2: load a[0]
        p0: load a[0]
        p2: advise a[0] pageout
        p0: store a[0] 0x22
        p2: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fix a[0]
        p0: advise a[0..1] pageout
        p0: load a[0]
        p0: deliver a[0] 0x22
        p0: load a[0]
        """,
        containing=(Advise, Store, Fork),
        max_pages=10,
    )
)
def test_a_page_comes_back_as_it_was(guest: Guest, program: Program) -> None:
    """A page that went to swap comes back as it was, to all who had it there, and to nobody else."""
    verdict = guest.run(program, whole=True)

    assert_conforms(verdict, to="swap.transparent")


@contract(
    "swap.transparent",
    catches=(
        "swap-fork-forgets-slot",
        "swap-in-frees-slot",
        "swap-in-takes-shared",
        "swap-in-copies-each",
        "swap-in-comes-clean",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: advise a[0..1] pageout
        p0: fork p1
        p0: fork p2
        p0: store a[0] 0x33
        p1: load a[0]
        p1: store a[1] 0x44
        p2: exit 0
        p0: load a[1]
        p1: exit 0
        p0: store a[1] 0x55
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: fork p1
        p0: store a[0] 0x33
        p0: advise a[0..1] pageout
        p0: fork p2
        p0: load a[0]
        p2: load a[0]
        observe
        p2: store a[0] 0x44
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] pageout
        p0: fork p1
        p0: load a[0]
        p1: load a[0]
        p1: advise a[0] free
        p1: exit 0
        p0: advise a[0] pageout
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] pageout
        p0: fork p1
        p0: load a[0]
        observe
        p0: advise a[0] pageout
        p0: store a[0] 0x22
        p1: load a[0]
        """,
        containing=(Advise, Store, Fork),
        max_pages=10,
    )
)
def test_a_page_comes_back_to_all_who_had_it_there(guest: Guest, program: Program) -> None:
    """A page that went to swap comes back as it was, to all who had it there, and to nobody else."""
    verdict = guest.run(program, whole=True)

    assert_conforms(verdict, to="swap.transparent")


@contract("swap.transparent", catches=("swap-dontneed-keeps", "swap-remap-forgets", "swap-keeps-protection"))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: advise a[0..1] pageout
        p0: remap a[0..1] a[4..5]
        p0: load a[4]
        p0: load a[5]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: store a[2] 0x33
        p0: advise a[0..2] pageout
        p0: advise a[0] dontneed
        p0: load a[0]
        p0: unmap a[1]
        p0: map a[1] rw private anon
        p0: load a[1]
        p0: map a[2] r private anon
        p0: load a[2]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: advise a[0..1] pageout
        p0: protect a[0..1] none
        p0: protect a[1] r
        p0: load a[1]
        p0: store a[1] 0x33
        p0: protect a[0] rw
        p0: load a[0]
        """,
        containing=(Advise, Store, Load),
        max_pages=10,
    )
)
def test_what_is_done_to_a_page_is_done_to_it_in_swap_too(guest: Guest, program: Program) -> None:
    """A page that went to swap comes back as it was, to all who had it there, and to nobody else."""
    verdict = guest.run(program, whole=True)

    assert_conforms(verdict, to="swap.transparent")


@contract("account.swap", catches=("swap-in-keeps-slot", "swap-exit-leaks-slots", "swap-unmap-leaks-slots"))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: store a[2] 0x33
        p0: advise a[0..2] pageout
        p0: fork p1
        p1: load a[0]
        p0: unmap a[1]
        p1: exit 0
        p0: load a[0]
        p0: exec
        """,
        containing=(Advise, Store),
    )
)
def test_what_is_in_swap_goes_with_its_last_holder(guest: Guest, program: Program) -> None:
    """What a program had in swap is there no longer once the last process that held it is gone."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="account.swap")
