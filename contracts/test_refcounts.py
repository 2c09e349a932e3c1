"""Counts: the kernel's numbers are the numbers of holders."""

from __future__ import annotations

import pytest
from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn, stored
from contracts.plugin.guest import Guest
from harness.program.ops import Exit, Fork, Load, Map, Store, Write
from harness.program.program import Program


@contract("count.equals-references", catches=("fork-forgets-ref", "fork-skips-prot-none", "stack-growth-leaks"))
@given(
    program=drawn(
        """
        p0: map a[8] rw private stack
        p0: store a[7] 0x11
        p0: store a[5] 0x22
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] none
        p0: fork p1
        observe
        p1: exit 0
        """,
        containing=(Fork, Store),
    )
)
def test_refcounts_equal_references(guest: Guest, program: Program) -> None:
    """The refcount of every frame equals its references: the page-table entries that map it, the page cache, and pins."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.equals-references")


@contract("count.equals-references", catches=("failed-copy-keeps-page", "failed-copy-drops-twice"))
@given(
    program=drawn(
        """
        p0: map b 2 rw shared f
        p0: load b[0]
        p0: map a[0] rw private anon
        p0: map a[1] none private anon
        p0: write f 100 a[0]+4090 17
        p0: write f 0 a[1] 17
        p0: load b[1]
        """,
        """
        p0: map b 1 r private f
        p0: load b[0]
        p0: map a 1 r private anon
        p0: read f 100 a[0] 17
        p0: fork p1
        p1: load b[0]
        """,
        containing=(Map, Load, Write),
    )
)
def test_what_a_failed_copy_held_is_let_go(guest: Guest, program: Program) -> None:
    """The refcount of every frame equals its references: the page-table entries that map it, the page cache, and pins."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.equals-references")


@contract("count.mapcount", catches=("fork-forgets-mapcount",))
@given(program=drawn(containing=(Fork, Store)))
def test_mapcounts_equal_the_entries_that_map(guest: Guest, program: Program) -> None:
    """The kernel's mapcount of a frame equals the number of page-table entries that map it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.mapcount")


@contract("count.no-inflation", catches=("no-vm-drop",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: wait p1
        p0: fork p2
        p2: exec
        p2: exit 0
        p0: wait p2
        p0: fork p3
        p3: exec
        p3: exit 0
        p0: fork p4
        p4: exit 0
        p0: store a[0] 0x22
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: load data[0]
        p0: repeat 20 7
        p0: fork p1
        p1: exit 0
        p0: wait p1
        p0: fork p2
        p2: exec
        p2: exit 0
        p0: wait p2
        p0: store a[0] 0x22
        """,
        containing=(Store, Fork, Exit),
    )
)
def test_rounds_of_fork_and_exit_or_exec_inflate_nothing(guest: Guest, program: Program) -> None:
    """Rounds of fork+exec and fork+exit leave each count where one round left it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.no-inflation")


@contract("count.many-sharers", catches=("count-u8",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: crowd 300
        observe
        p1: store a[0] 0x22
        p0: load a[0]
        p0: disperse
        p0: store a[0] 0x33
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: crowd 255
        p1: store a[0] 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: crowd 256
        p1: exit 0
        p0: map a[1] rw private anon
        p0: fill a[1] 0x22
        p0: load a[0]
        """,
        containing=(Fork, Store),
    )
)
def test_many_sharers_do_not_wrap_the_count(guest: Guest, program: Program) -> None:
    """However many processes share a frame, its count neither wraps, nor sticks, nor frees it early."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="count.many-sharers")


@pytest.mark.long_run
@contract("count.many-sharers", catches=("count-u16",))
def test_more_references_than_two_bytes_can_count_do_not_wrap_the_count(guest: Guest) -> None:
    """However many processes share a frame, its count neither wraps, nor sticks, nor frees it early."""
    verdict = guest.run(stored("nightly/fault-count-u16"))

    assert_conforms(verdict, to="count.many-sharers")
