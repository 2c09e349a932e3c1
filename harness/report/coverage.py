"""The coverage table of a run: in the terminal how much of each kind was reached, as HTML every cell with a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.coverage.reached import Reached
from harness.coverage.situation import IMPOSSIBLE, SITUATIONS, Action, Memory, Role, Situation, State
from harness.program.program import Program
from harness.program.text import format_program

_TEMPLATES = Path(__file__).parent / "templates"

Counts = Mapping[Situation, int]
"""How many programs reached each situation; one that was not reached may be absent."""


def coverage_lines(counts: Counts) -> list[str]:
    """Write the table for a terminal of 100 columns: kinds of memory downwards, actions across, reached of possible."""
    if not any(counts.values()):
        return []
    name = max(len(memory.value) for memory in Memory)
    width = 8
    lines = [f"coverage: {_reached(counts)} of {len(SITUATIONS)} situations (page's state × role), reached/possible:"]
    lines.append(f"  {'':<{name}}" + "".join(f"{action.value:>{width}}" for action in Action))
    for memory in Memory:
        cells = [_fraction(counts, memory, action) for action in Action]
        lines.append(f"  {memory.value:<{name}}" + "".join(f"{cell:>{width}}" for cell in cells))
    return lines


def _reached(counts: Counts) -> int:
    return len(SITUATIONS) - len(never_reached(counts))


def _fraction(counts: Counts, memory: Memory, action: Action) -> str:
    possible = [each for each in SITUATIONS if each.memory is memory and each.action is action]
    reached = sum(bool(counts.get(each)) for each in possible)
    return f"{reached}/{len(possible)}" if possible else "–"


@dataclass(frozen=True, slots=True)
class _Part:
    """One role of a cell, as the template reads it."""

    role: str
    count: int
    program: str


def coverage_html(reached: Reached, *, programs: int) -> str:
    """Write the whole table as a page that stands alone; each cell that was reached shows its shortest program."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("coverage.html").render(
        reached=_reached(reached.counts),
        total=len(SITUATIONS),
        programs=f"{programs:,}",
        actions=[action.value for action in Action],
        tables=[(memory.value, list(_rows(memory, reached))) for memory in Memory],
    )


def _rows(memory: Memory, reached: Reached) -> Iterator[tuple[str, list[list[_Part]], str]]:
    """Give each row: the state, its cells, and why there are none where no page can be like that."""
    for state in State:
        why = IMPOSSIBLE.get((memory, state), "")
        cells: list[list[_Part]] = []
        if why:
            yield state.value, cells, why
            continue
        for action in Action:
            here = [Situation(memory, state, action, role) for role in Role]
            cells.append([_Part(each.role.value, reached.counts[each], _text(reached.examples.get(each))) for each in here])
        yield state.value, cells, ""


def _text(program: Program | None) -> str:
    return format_program(program) if program is not None else ""


def never_reached(counts: Counts) -> list[Situation]:
    """List the situations that no program reached, in the order of the table."""
    return [each for each in SITUATIONS if not counts.get(each)]
