"""The matrix of contracts and guests."""

from __future__ import annotations

from harness.commands.fault_runs import FaultRun, Found, Result
from harness.commands.matrix import column_of
from harness.guest.definition import every_guest
from harness.report.matrix import Cell, Column, matrix_html, matrix_lines

RUN = FaultRun(
    (
        Result("cow.a", "t1", Found.MISSED),
        Result("cow.a", "t2", Found.SKIPPED, note="cannot pin"),
        Result("cow.b", "t3", Found.CAUGHT, "cow.b"),
        Result("fork.c", "t4", Found.EXPECTED, note="known"),
        Result("fork.d", "t5", Found.SKIPPED, note="needs frames: no pagemap"),
    ),
    beside=("exit.e",),
)


def test_each_contract_has_the_gravest_of_its_tests() -> None:
    column = column_of("mine", RUN)

    cells = {contract: column.cell(contract) for contract in column.tests}
    assert cells == {
        "cow.a": Cell.PASSED,
        "cow.b": Cell.FAILED,
        "fork.c": Cell.EXPECTED,
        "fork.d": Cell.SKIPPED,
        "exit.e": Cell.FAILED,
    }


def test_the_matrix_has_a_column_for_each_guest_with_counts_and_reasons() -> None:
    lines = matrix_lines([column_of("mine", RUN), Column("gone", trouble="QEMU is not installed")])

    assert lines[0].split() == ["contract", "mine", "gone"]
    assert "cow.b     failed    -" in lines
    assert "failed    2         0" in lines
    assert "gone: not tested: QEMU is not installed" in lines
    assert "mine: fork.d skipped: needs frames: no pagemap" in lines


def test_the_page_shows_what_the_terminal_shows() -> None:
    html = matrix_html([column_of("<mine>", RUN)], {"cow.b": 'a "sentence"'}, examples=20)

    assert "&lt;mine&gt;" in html
    assert '<td class="failed"' in html
    assert "a &#34;sentence&#34;" in html
    assert "20 programs" in html


def test_guests_without_a_kernel_of_their_own_are_not_in_it() -> None:
    assert "custom" not in every_guest()
    assert {"linux", "mini", "model", "linux-arm64"} <= set(every_guest())
