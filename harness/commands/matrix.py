"""`matrix`: all contracts on several guests, side by side."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from harness.commands.children import INTERRUPTED, Children
from harness.commands.cli import CONFORMS, DIVERGES, TROUBLE
from harness.commands.fault_runs import RUN_LIMIT_S, FaultRun, Found, Order, Result, run_order
from harness.commands.faults import cpu_count
from harness.compare.catalogue import CONTRACTS
from harness.errors import DefinitionError, RigError, StorageError
from harness.guest.definition import every_guest, load_definition
from harness.report.matrix import Cell, Column, guest_name, matrix_html, matrix_lines

EXAMPLES = """\b
Examples:
    python -m harness matrix --examples 20
    python -m harness matrix --guests linux,linux-arm64,./mine.toml --html matrix.html
    python -m harness matrix --minutes 45
"""

_CELLS = {
    Found.MISSED: Cell.PASSED,
    Found.CAUGHT: Cell.FAILED,
    Found.SKIPPED: Cell.SKIPPED,
    Found.EXPECTED: Cell.EXPECTED,
    Found.ERROR: Cell.ERROR,
}
"""What a run without a planted fault makes of each result: what catches something has found a bug."""

PATIENCE_S = 20.0
"""How long a run that is cut gets to write down how far it came."""

PROGRESS_S = 60.0
"""How often progress is told where nothing can be drawn over."""


@click.command(epilog=EXAMPLES)
@click.option("--guests", metavar="NAME,…", help="Only these guests; names, and paths of .toml files.")
@click.option(
    "--examples", type=click.IntRange(min=1), default=200, show_default=True,
    help="Programs for each contract.",
)  # fmt: skip
@click.option("--seed", metavar="TEXT", help="Draw the programs that a run with this seed drew.")
@click.option("--only", default="", metavar="WORDS", help="Only the contracts that pytest -k finds by these words.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests of one kind at a time [default: one a CPU].")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), metavar="N",
    help="End after so long: each guest gets its share of what is left.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("failures"), show_default=True, metavar="DIR",
    help="Where failing programs are written.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the matrix as a page, too.")
def matrix(
    *,
    guests: str | None,
    examples: int,
    seed: str | None,
    only: str,
    jobs: int | None,
    minutes: float | None,
    keep: Path,
    html: Path | None,
) -> int:
    """Run all contracts on all guests, and print what each guest made of each contract.

    Ctrl-C ends it with the table of what was done.

    Exit status: 0 every contract that could be tested conforms or is expected to fail, 1 one is broken, 2 a guest could not
    be tested, or not to the end, or a file not be written.
    """
    chosen = [name.strip() for name in guests.split(",")] if guests else every_guest()
    for name in chosen:
        load_definition(name)  # a name that is wrong is said before anything runs
    seed = seed or f"{random.SystemRandom().randrange(1 << 32):08x}"
    about = f"{examples} programs for each contract, seed {seed}"
    orders = [
        Order(name, None, (), examples, seed, jobs or cpu_count(), only=only, keep=(keep / guest_name(name)).absolute())
        for name in chosen
    ]
    if html is not None:
        _write(html, "")  # a place where nothing can be written is told before hours of work
    click.echo(about)
    columns = run_columns(orders, click.echo, limit_s=minutes * 60 if minutes else None)
    click.echo("\n" + "\n".join(matrix_lines(columns)))
    if html is not None:
        _write(html, matrix_html(columns, {each.id: each.sentence for each in CONTRACTS.values()}, about=about))
    if any(column.cut == INTERRUPTED for column in columns):
        raise KeyboardInterrupt
    return status_of(columns)


def status_of(columns: Sequence[Column]) -> int:
    """Give the exit status: what is broken is said first."""
    if any(column.counts()[Cell.FAILED] for column in columns):
        return DIVERGES
    is_whole = not any(column.trouble or column.cut or column.counts()[Cell.ERROR] for column in columns)
    return CONFORMS if is_whole else TROUBLE


def run_columns(orders: Sequence[Order], say: Callable[[str], None], *, limit_s: float | None = None) -> list[Column]:
    """Run one order after the other, all within `limit_s`. A guest that cannot be tested has a column that says why; one
    that was interrupted is the last.
    """
    columns: list[Column] = []
    end = time.monotonic() + limit_s if limit_s else None
    with Children() as children:
        for number, order in enumerate(orders, 1):
            began = time.monotonic()
            share = RUN_LIMIT_S if end is None else max(end - began, 0) / (len(orders) - number + 1)
            with _Progress(f"{order.guest} ({number} of {len(orders)})") as progress:
                column = _column(children, order, progress.heed, share)
            column.seconds = time.monotonic() - began
            columns.append(column)
            say(f"{order.guest}: {column.told()}")
            if column.cut == INTERRUPTED:
                break
    return columns


def _column(children: Children, order: Order, heed: Callable[[str], None], limit_s: float) -> Column:
    try:
        run = run_order(children, order, heed=heed, limit_s=limit_s, patience_s=PATIENCE_S)
    except DefinitionError:
        raise
    except RigError as error:
        return Column(order.guest, trouble=str(error))
    return column_of(order, run)


def column_of(order: Order, run: FaultRun) -> Column:
    """Turn the results of one run into a column."""
    column = Column(order.guest, cut=run.cut)
    for result in run.results:
        column.add(result.contract, _CELLS[result.found], result.note or _replay(order, result))
    for contract in run.beside:
        column.add(contract, Cell.FAILED, f"broken by programs that were drawn for other contracts, see {_place(order)}")
    return column


def _replay(order: Order, result: Result) -> str:
    """Say how to see a finding again."""
    if result.found is not Found.CAUGHT:
        return ""
    return f"python -m harness replay {_place(order)}/{result.file}" if result.file else f"see {_place(order)}"


def _place(order: Order) -> Path:
    assert order.keep is not None
    return order.keep.relative_to(Path.cwd()) if order.keep.is_relative_to(Path.cwd()) else order.keep


class _Progress:
    """Tells how far a run is, on standard error: in one line that is drawn over, or now and then where there is none."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._draws = sys.stderr.isatty()
        self._told = time.monotonic()

    def __enter__(self) -> _Progress:
        self._say("starting")
        return self

    def heed(self, line: str) -> None:
        """Take in a line that pytest prints; those about progress begin with an ellipsis."""
        if line.startswith("… ") and (self._draws or time.monotonic() - self._told >= PROGRESS_S):
            self._told = time.monotonic()
            self._say(line.strip())

    def _say(self, words: str) -> None:
        text = f"{self._what}: {words}"
        click.echo(f"\r\033[K{text[:99]}" if self._draws else text, err=True, nl=not self._draws)

    def __exit__(self, *_error: object) -> None:
        if self._draws:
            click.echo("\r\033[K", err=True, nl=False)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
