"""`matrix`: all contracts on several guests, side by side."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from harness.commands.children import Children
from harness.commands.cli import CONFORMS, DIVERGES, TROUBLE
from harness.commands.fault_runs import FaultRun, Found, Order, run_order
from harness.commands.faults import cpu_count
from harness.compare.catalogue import CONTRACTS
from harness.errors import DefinitionError, RigError, StorageError
from harness.guest.definition import every_guest, load_definition
from harness.report.matrix import Cell, Column, matrix_html, matrix_lines

EXAMPLES = """\b
Examples:
    python -m harness matrix --examples 20
    python -m harness matrix --guests linux,linux-arm64,./mine.toml --html matrix.html
"""

_CELLS = {
    Found.MISSED: Cell.PASSED,
    Found.CAUGHT: Cell.FAILED,
    Found.SKIPPED: Cell.SKIPPED,
    Found.EXPECTED: Cell.EXPECTED,
    Found.ERROR: Cell.ERROR,
}
"""What a run without a planted fault makes of each result: what catches something has found a bug."""


@click.command(epilog=EXAMPLES)
@click.option("--guests", metavar="NAME,…", help="Only these guests; names, and paths of .toml files.")
@click.option(
    "--examples", type=click.IntRange(min=1), default=200, show_default=True,
    help="Programs for each contract.",
)  # fmt: skip
@click.option("--seed", metavar="TEXT", help="Draw the programs that a run with this seed drew.")
@click.option("--only", default="", metavar="WORDS", help="Only the contracts that pytest -k finds by these words.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests of one kind at a time [default: one a CPU].")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the matrix as a page, too.")
def matrix(*, guests: str | None, examples: int, seed: str | None, only: str, jobs: int | None, html: Path | None) -> int:
    """Run all contracts on all guests, and print what each guest made of each contract.

    Exit status: 0 every contract that could be tested conforms or is expected to fail, 1 one is broken, 2 a guest could not
    be tested, or a file not be written.
    """
    chosen = guests.split(",") if guests else every_guest()
    for name in chosen:
        load_definition(name)  # a name that is wrong is said before anything runs
    orders = [
        Order(
            name,
            None,
            (),
            examples,
            seed or f"{random.SystemRandom().randrange(1 << 32):08x}",
            jobs or cpu_count(),
            only=only,
        )
        for name in chosen
    ]
    columns = run_columns(orders, click.echo)
    click.echo("\n" + "\n".join(matrix_lines(columns)))
    if html is not None:
        _write(html, matrix_html(columns, {each.id: each.sentence for each in CONTRACTS.values()}, examples=examples))
    if any(column.counts()[Cell.FAILED] for column in columns):
        return DIVERGES
    return TROUBLE if any(column.trouble or column.counts()[Cell.ERROR] for column in columns) else CONFORMS


def run_columns(orders: Sequence[Order], say: Callable[[str], None]) -> list[Column]:
    """Run one order after the other; a guest that cannot be tested has a column that says why."""
    columns = []
    with Children() as children:
        for order in orders:
            try:
                column = column_of(order.guest, run_order(children, order))
            except DefinitionError:
                raise
            except RigError as error:
                column = Column(order.guest, trouble=str(error))
            columns.append(column)
            counts = column.counts()
            told = ", ".join(f"{counts[cell]} {cell}" for cell in Cell if counts[cell]) or column.trouble
            say(f"{order.guest}: {told}")
    return columns


def column_of(guest: str, run: FaultRun) -> Column:
    """Turn the results of one run into a column."""
    column = Column(guest)
    for result in run.results:
        column.add(result.contract, _CELLS[result.found], result.note)
    for contract in run.beside:
        column.add(contract, Cell.FAILED, "broken by programs that were drawn for other contracts")
    return column


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
