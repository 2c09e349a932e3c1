"""The matrix of contracts and guests."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.commands.children import INTERRUPTED
from harness.commands.cli import run
from harness.commands.fault_runs import FaultRun, Found, Order, Result
from harness.errors import RigError
from harness.guest.definition import every_guest
from harness.report.matrix import Cell, Column, matrix_html, matrix_lines

command = importlib.import_module("harness.commands.matrix")
"""The module: the package has the command of the same name."""
RUN = FaultRun(
    (
        Result("cow.a", "t1", Found.MISSED),
        Result("cow.a", "t2", Found.SKIPPED, note="cannot pin"),
        Result("cow.b", "t3", Found.CAUGHT, "cow.b", file="cow.b-1234.prog"),
        Result("fork.c", "t4", Found.EXPECTED, note="known"),
        Result("fork.d", "t5", Found.SKIPPED, note="needs frames: no pagemap"),
    ),
    beside=("exit.e",),
)
GONE = Column("gone", trouble="QEMU is not installed")


def column_of(guest: str, run: FaultRun = RUN) -> Column:
    order = Order(guest, None, (), 20, "s", keep=Path.cwd() / "failures" / "mine")
    column: Column = command.column_of(order, run)
    return column


def test_each_contract_has_the_gravest_of_its_tests() -> None:
    column = column_of("mine")

    cells = {contract: column.cell(contract) for contract in column.tests}
    assert cells == {
        "cow.a": Cell.PASSED,
        "cow.b": Cell.FAILED,
        "fork.c": Cell.EXPECTED,
        "fork.d": Cell.SKIPPED,
        "exit.e": Cell.FAILED,
    }


def test_a_reason_is_that_of_the_gravest_test() -> None:
    column = Column("mine")
    column.add("cow.a", Cell.SKIPPED, "cannot pin")
    column.add("cow.a", Cell.FAILED, "see there")
    column.add("cow.b", Cell.SKIPPED, "cannot pin")
    column.add("cow.b", Cell.PASSED)

    assert column.notes == {"cow.a": "see there"}


def test_the_matrix_has_a_column_for_each_guest_with_counts_and_reasons() -> None:
    lines = matrix_lines([column_of("a-mine"), GONE])

    assert lines[0].split() == ["a-"]
    assert lines[1].split() == ["contract", "mine", "gone"]
    assert "cow.b     FAIL   -" in lines
    assert "failed    2      -" in lines
    assert "gone: not tested: QEMU is not installed" in lines
    assert "    skip   fork.d" in lines
    assert "           needs frames: no pagemap" in lines
    assert "           python -m harness replay failures/mine/cow.b-1234.prog" in lines


def test_guests_that_are_too_many_for_a_line_stand_below_each_other() -> None:
    lines = matrix_lines([column_of(f"guest-number-{number}") for number in range(40)])

    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("contract") for line in lines) == sum(line.startswith("fork.c ") for line in lines) > 1


def test_the_page_shows_what_the_terminal_shows() -> None:
    html = matrix_html([column_of("<mine>"), GONE], {"cow.b": 'a "sentence"'}, about="20 programs")

    assert "&lt;mine&gt;" in html
    assert '<td class="failed"' in html
    assert "a &#34;sentence&#34;" in html
    assert "20 programs" in html
    assert "Not tested: QEMU is not installed" in html
    assert html.count("needs frames: no pagemap") == 2  # at the cell, and below


def test_guests_without_a_kernel_of_their_own_are_not_in_it() -> None:
    assert "custom" not in every_guest()
    assert {"linux", "mini", "model", "linux-arm64"} <= set(every_guest())


# ---------------------------------------------------------------------------------- the command

Captured = pytest.CaptureFixture[str]


@contextmanager
def runs(monkeypatch: pytest.MonkeyPatch, *outcomes: FaultRun | Exception) -> Iterator[list[float]]:
    """Let the runs end as `outcomes` say, in order; gives the time that each was granted."""
    granted: list[float] = []

    def run_order(_children: object, _order: Order, *, limit_s: float, **_: object) -> FaultRun:
        granted.append(limit_s)
        outcome = outcomes[len(granted) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(command, "run_order", run_order)
    yield granted


def test_a_guest_that_cannot_be_opened_does_not_end_it(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with runs(monkeypatch, RigError("no QEMU here"), FaultRun(RUN.results[:1])):
        status = run(["matrix", "--guests", "linux,model"])

    out = capsys.readouterr().out
    assert status == 2
    assert "linux: no QEMU here" in out
    assert "model: 1 passed in 0.0 min" in out


def test_ctrl_c_leaves_the_table_of_what_was_done(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    cut = FaultRun(RUN.results[:1], cut=INTERRUPTED)
    with runs(monkeypatch, FaultRun(RUN.results[3:]), cut) as granted:
        status = run(["matrix", "--guests", "linux,model,mini"])

    out = capsys.readouterr().out
    assert status == 130
    assert len(granted) == 2
    assert "fork.d    skip   -" in out
    assert "cow.a     -      ok" in out
    assert "model: cut short: interrupted" in out


def test_what_one_guest_leaves_of_its_time_the_others_share(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with runs(monkeypatch, *(FaultRun(RUN.results[:1], cut="its time was over") for _ in range(2))) as granted:
        status = run(["matrix", "--guests", "linux,model", "--minutes", "10"])

    assert status == 2
    assert 290 < granted[0] <= 300
    assert 590 < granted[1] <= 600
    assert "model: cut short: its time was over" in capsys.readouterr().out
