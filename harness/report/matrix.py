"""The matrix of contracts and guests: what each guest made of each contract, for the terminal and as HTML."""

from __future__ import annotations

import enum
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


class Cell(enum.StrEnum):
    """What became of a contract on a guest, the gravest of its tests; in the order of gravity."""

    PASSED = "passed"
    SKIPPED = "skipped"
    EXPECTED = "expected"
    FAILED = "failed"
    ERROR = "error"


_ORDER = list(Cell)
_SHORT = {
    Cell.PASSED: "ok",
    Cell.SKIPPED: "skip",
    Cell.EXPECTED: "known",
    Cell.FAILED: "FAIL",
    Cell.ERROR: "ERROR",
    None: "-",
}
"""What stands in a cell of the terminal's table."""


def guest_name(guest: str) -> str:
    """Give the name of a guest that was chosen by it, or by the path of its definition."""
    return Path(guest).stem if guest.endswith(".toml") else guest


@dataclass(slots=True)
class Column:
    """One guest: the outcomes of the tests of each contract, and a note for each that did not pass."""

    guest: str
    tests: dict[str, list[Cell]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Why a contract has its cell: of its gravest test."""
    trouble: str = ""
    """Why the guest could not be tested at all."""
    cut: str = ""
    """Why it was not tested to the end."""
    seconds: float = 0.0
    """How long it took."""

    @property
    def name(self) -> str:
        """The guest's name; of one that is defined in a file, the file's."""
        return guest_name(self.guest)

    def add(self, contract: str, cell: Cell, note: str = "") -> None:
        """Enter the outcome of one test."""
        before = self.cell(contract)
        self.tests.setdefault(contract, []).append(cell)
        if self.cell(contract) is not before:
            self.notes.pop(contract, None)
        if note and cell is self.cell(contract) is not Cell.PASSED:
            self.notes.setdefault(contract, note)

    def cell(self, contract: str) -> Cell | None:
        """Give the gravest outcome of a contract's tests; one that passed beside a skipped one passed. None: not run."""
        found = self.tests.get(contract, [])
        if Cell.PASSED in found and set(found) == {Cell.PASSED, Cell.SKIPPED}:
            return Cell.PASSED
        return max(found, key=_ORDER.index, default=None)

    def counts(self) -> Counter[Cell]:
        """Count the contracts by what became of them."""
        return Counter(cell for each in self.tests if (cell := self.cell(each)) is not None)

    def told(self) -> str:
        """Say in a line what became of the guest."""
        counts = self.counts()
        words = ", ".join(f"{counts[cell]} {cell}" for cell in Cell if counts[cell]) or "nothing was tested"
        return self.trouble or f"{words} in {self.seconds / 60:.1f} min" + (f"; cut short: {self.cut}" if self.cut else "")

    def reasons(self) -> list[tuple[Cell, str, list[str]]]:
        """Give each reason for cells that are no pass, the gravest first: the cell, the reason, and the contracts."""
        by_note: dict[tuple[Cell, str], list[str]] = {}
        for contract, note in sorted(self.notes.items()):
            cell = self.cell(contract)
            assert cell is not None
            by_note.setdefault((cell, note), []).append(contract)
        ordered = sorted(by_note.items(), key=lambda item: (-_ORDER.index(item[0][0]), item[0][1]))
        return [(cell, note, contracts) for (cell, note), contracts in ordered]


def contracts_of(columns: Sequence[Column]) -> list[str]:
    """List all contracts that some guest was asked about."""
    return sorted({contract for column in columns for contract in column.tests})


# ---------------------------------------------------------------------------------- for the terminal


def matrix_lines(columns: Sequence[Column], *, width: int = 100) -> list[str]:
    """Write the matrix: contracts downwards, guests across, the counts below, then why cells did not pass."""
    lines: list[str] = []
    for block in _blocks(columns, width):
        lines += [*_table(block, contracts_of(columns)), ""]
    return [*lines, *_reasons(columns, width)]


def _blocks(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Cut the guests into as many tables as it takes for each to fit."""
    room = width - max(map(len, ("contract", *contracts_of(columns))))
    block: list[Column] = []
    for column in columns:
        if block and sum(2 + _width(each) for each in (*block, column)) > room:
            yield block
            block = []
        block.append(column)
    yield block


def _heading(column: Column) -> list[str]:
    """Cut a guest's name where it has a hyphen, as columns are narrow."""
    return re.findall(r"[^-]*-|[^-]+", column.name) or [column.name]


def _width(column: Column) -> int:
    cells = {_SHORT[column.cell(contract)] for contract in column.tests}
    return max(map(len, (*_heading(column), *cells, "100")))


def _table(columns: Sequence[Column], contracts: Sequence[str]) -> list[str]:
    height = max(len(_heading(column)) for column in columns)
    headings = [[""] * (height - len(_heading(column))) + _heading(column) for column in columns]
    rows = [["contract" if at == height - 1 else "", *(each[at] for each in headings)] for at in range(height)]
    rows += [[contract, *(_SHORT[column.cell(contract)] for column in columns)] for contract in contracts]
    rows.append([""] * (len(columns) + 1))
    met = [cell for cell in Cell if any(column.counts()[cell] for column in columns)]
    rows += [[str(cell), *(str(column.counts()[cell] or "-") for column in columns)] for cell in met]
    rows.append(["minutes", *(f"{column.seconds / 60:.1f}" for column in columns)])
    widths = [max(map(len, ("contract", *contracts))), *(_width(column) for column in columns)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _reasons(columns: Sequence[Column], width: int) -> list[str]:
    """Write why cells are no pass: those of a guest together, each reason once."""
    lines: list[str] = []
    for column in columns:
        about = f"not tested: {column.trouble}" if column.trouble else f"cut short: {column.cut}" if column.cut else ""
        if about or column.notes:
            lines += textwrap.wrap(f"{column.name}{f': {about}' if about else ''}", width, subsequent_indent="    ")
        for cell, note, contracts in column.reasons():
            for text, first in ((", ".join(contracts), f"    {_SHORT[cell]:<5}  "), (note, " " * 11)):
                lines += textwrap.wrap(
                    text, width, initial_indent=first, subsequent_indent=" " * 11,
                    break_long_words=False, break_on_hyphens=False,
                )  # fmt: skip
    return lines


# ---------------------------------------------------------------------------------- as a page


def matrix_html(columns: Sequence[Column], sentences: Mapping[str, str], *, about: str) -> str:
    """Write the matrix as a page of its own; `sentences` are those of the contracts, `about` says what was run."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("matrix.html").render(
        columns=columns,
        contracts=contracts_of(columns),
        sentences=sentences,
        cells=[cell for cell in Cell if any(column.counts()[cell] for column in columns)],
        short=_SHORT,
        about=about,
    )
