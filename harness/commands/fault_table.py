"""The table of `faults`: a row for each contract that must catch a fault, filled while runs go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.commands.fault_runs import FaultRun, Found, Result

HEADINGS = ("fault", "contract", "found after", "steps", "seconds")
WIDTHS = (32, 32, 22, 5, 7)


def rows_of(fault: str, run: FaultRun, examples: int) -> list[tuple[str, ...]]:
    """Write the rows of one fault, whose contracts ran `examples` programs each."""
    if not run.results:
        return [(fault, "NO CONTRACT NAMES IT", "", "", "")]
    names = [fault] + [""] * (len(run.results) - 1)
    return [
        (name, result.contract, _after(result, examples), _number(result.steps), f"{result.seconds:.1f}")
        for name, result in zip(names, run.results, strict=True)
    ]


def _after(result: Result, examples: int) -> str:
    if result.found is Found.CAUGHT:
        seconds = "" if result.seconds_to_find is None else f", {result.seconds_to_find:.1f} s"
        return f"{result.examples} example" + "s" * (result.examples != 1) + seconds
    if result.found is Found.MISSED:
        return f"MISSED in {examples}"
    return result.found.upper()


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


class Board(Protocol):
    """Shows the table while it fills."""

    def __enter__(self) -> Board:
        """Show the empty table."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave what is there."""
        ...

    def update(self, runs: Mapping[str, FaultRun]) -> None:
        """Show the runs that have ended."""
        ...


def open_board(faults: Sequence[str], examples: int) -> Board:
    """Give the board that suits standard output: one that is redrawn, or lines that stay."""
    if sys.stdout.isatty():
        return LiveBoard(faults, examples, Console())
    return PlainBoard(faults, examples)


class PlainBoard:
    """Prints the rows of a fault once its run, and all before it, have ended."""

    def __init__(self, faults: Sequence[str], examples: int) -> None:
        self._waiting = [*faults]
        self._examples = examples

    def __enter__(self) -> PlainBoard:
        print(plain_line(HEADINGS), flush=True)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        return None

    def update(self, runs: Mapping[str, FaultRun]) -> None:
        """Print what has become complete."""
        while self._waiting and self._waiting[0] in runs:
            fault = self._waiting.pop(0)
            for row in rows_of(fault, runs[fault], self._examples):
                print(plain_line(row), flush=True)


def plain_line(cells: Sequence[str]) -> str:
    """Write one row in columns; numbers are at the right of theirs."""
    pairs = zip(cells, WIDTHS, strict=True)
    text = [f"{cell:>{width}}" if at >= 3 else f"{cell:<{width}}" for at, (cell, width) in enumerate(pairs)]
    return "  ".join(text).rstrip()


class LiveBoard:
    """A table on a terminal, drawn again whenever a run ends, with as many rows as there is room for."""

    def __init__(self, faults: Sequence[str], examples: int, console: Console) -> None:
        self._faults = faults
        self._examples = examples
        self._console = console
        self._runs: dict[str, FaultRun] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveBoard:
        self._live.start()
        self.update({})
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        self._console.print(self._table([*self._rows()]))

    def update(self, runs: Mapping[str, FaultRun]) -> None:
        """Draw the table with the runs that have ended, and below it how many there are."""
        self._runs = dict(runs)
        room = max(self._console.height - 6, 3)
        table = self._table([*self._rows()][-room:])
        table.caption = f"{len(runs)} of {len(self._faults)} faults"
        self._live.update(table, refresh=True)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for fault in self._faults:
            if fault in self._runs:
                yield from rows_of(fault, self._runs[fault], self._examples)

    def _table(self, rows: Sequence[tuple[str, ...]]) -> Table:
        table = Table(*HEADINGS[:3], box=None, pad_edge=False)
        for heading in HEADINGS[3:]:
            table.add_column(heading, justify="right")
        for row in rows:
            upper = row[1].isupper() or row[2].partition(" ")[0].isupper()
            table.add_row(*row, style="bold red" if upper else None)
        return table
