"""The matrix of contracts and guests: what each guest made of each contract, for the terminal and as HTML."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
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


@dataclass(slots=True)
class Column:
    """One guest: the outcomes of the tests of each contract, and a note for each that did not pass."""

    guest: str
    tests: dict[str, list[Cell]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    """Why the guest could not be tested at all."""

    def add(self, contract: str, cell: Cell, note: str = "") -> None:
        """Enter the outcome of one test."""
        self.tests.setdefault(contract, []).append(cell)
        if note and cell is not Cell.PASSED:
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


def contracts_of(columns: Sequence[Column]) -> list[str]:
    """List all contracts that some guest was asked about."""
    return sorted({contract for column in columns for contract in column.tests})


def matrix_lines(columns: Sequence[Column]) -> list[str]:
    """Write the matrix: contracts downwards, guests across, the counts below, then why cells did not pass."""
    rows = [["contract", *(column.guest for column in columns)]]
    for contract in contracts_of(columns):
        rows.append([contract, *(str(column.cell(contract) or "-") for column in columns)])
    rows.append([""] * (len(columns) + 1))
    for cell in Cell:
        rows.append([str(cell), *(str(column.counts()[cell]) for column in columns)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    table = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*table, "", *_notes(columns)]


def _notes(columns: Sequence[Column]) -> list[str]:
    lines = [f"{column.guest}: not tested: {column.trouble}" for column in columns if column.trouble]
    for column in columns:
        by_note: dict[str, list[str]] = {}
        for contract, note in column.notes.items():
            by_note.setdefault(f"{column.cell(contract)}: {note}", []).append(contract)
        lines += [f"{column.guest}: {', '.join(sorted(found))} {note}" for note, found in sorted(by_note.items())]
    return lines


def matrix_html(columns: Sequence[Column], sentences: Mapping[str, str], *, examples: int) -> str:
    """Write the matrix as a page of its own; `sentences` are those of the contracts."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("matrix.html").render(
        columns=columns, contracts=contracts_of(columns), sentences=sentences, cells=list(Cell), examples=examples
    )
