"""Page tables: their pages are memory too."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Exec, Fork, Store
from harness.program.program import Program


@contract("tables.conserved", catches=("leak-page-tables",))
@given(program=drawn(containing=(Store,)))
def test_page_table_pages_come_back(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, its page-table pages are free."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tables.conserved")


@contract("tables.no-double-free", catches=("exec-teardown-frees-live-tables", "double-free-root"))
@given(
    program=drawn(
        """
        p0: fork p1
        p1: exec
        p1: exit 0
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p2
        p2: store a[1] 0x22
        p0: load a[0]
        """,
        """
        p0: fork p1
        p1: exit 0
        p0: fork p2
        p0: fork p3
        p2: map a 1 rw private anon
        p2: store a[0] 0x11
        p3: map a 1 rw private anon
        p3: store a[0] 0x22
        p2: load a[0]
        """,
        containing=(Fork, Exec, Store),
    )
)
def test_a_table_is_freed_once(guest: Guest, program: Program) -> None:
    """A page-table page is freed once, and a dead root is never used again."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tables.no-double-free")
