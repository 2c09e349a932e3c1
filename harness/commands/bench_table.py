"""Measurements: what was measured, how much it varied, and what the project wants it to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

HEADINGS = ("measurement", "value", "min–max", "target", "")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound. `aim` is what would be better still."""

    bound: float
    at_least: bool
    aim: float | None = None

    def is_met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def text(self) -> str:
        """Write the bound as it stands in the table."""
        aim = "" if self.aim is None else f" (aim {self.aim:g})"
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{aim}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Samples of one quantity. Its value is their median: machines are noisy in one direction.

    Without samples it is one that could not be had, and no target is met.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    target: Target | None = None
    note: str = ""

    @property
    def value(self) -> float | None:
        """The median; None without samples."""
        return median(self.samples) if self.samples else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value is not None and self.target.is_met(self.value)

    def row(self) -> tuple[str, ...]:
        """Write the cells of the table."""
        spread = ""
        if len(self.samples) > 1:
            spread = f"{number(min(self.samples))}–{number(max(self.samples))}, {len(self.samples)} times"
        target = ""
        if self.target is not None:
            target = self.target.text() + ("" if self.met else "  MISSED")
        value = "none" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()
        return (self.name, value, spread, target, self.note)

    def to_json(self) -> dict[str, Any]:
        """Write it as plain data."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "min": min(self.samples, default=None),
            "max": max(self.samples, default=None),
            "samples": list(self.samples),
            "target": self.target.text() if self.target else None,
            "met": self.met,
            "note": self.note,
        }


def number(value: float) -> str:
    """Write a number with three digits or so; one that was counted as it is."""
    size = abs(value)
    if isinstance(value, int) and size < 1000:
        return str(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def table_lines(measurements: Sequence[Measurement]) -> list[str]:
    """Write the table."""
    rows = [HEADINGS, *(each.row() for each in measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
