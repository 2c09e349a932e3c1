"""Page tables: their pages are memory too."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Store
from harness.program.program import Program


@contract("tables.conserved", catches=("leak-page-tables",))
@given(program=drawn(containing=(Store,)))
def test_page_table_pages_come_back(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, its page-table pages are free."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tables.conserved")
