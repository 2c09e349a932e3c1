"""Free memory is held against that before the program, where it repeats steps so often that a leak tells."""

from __future__ import annotations

import pytest

from harness.compare import compare
from harness.model.presets import PRESETS
from harness.program.outcome import Done
from harness.program.text import parse_program
from harness.program.trace import Accounting, Trace


def broken(text: str, gone: int | None, tables: int = 5) -> list[str]:
    after = None if gone is None else 1000 - gone
    program = parse_program(text)
    outcomes = (None,) + (Done(),) * (len(program) - 1)
    trace = Trace(outcomes, before=Accounting(1000, 5, 5), after=Accounting(after, tables, 5))
    return [each.contracts[0] for each in compare(program, trace, PRESETS["linux-6.1"]).divergences]


@pytest.mark.parametrize(
    ("rounds", "gone", "found"),
    [
        (64, 64, ["conserve.free-memory"]),
        (64, 8, ["conserve.free-memory"]),
        (64, 7, []),
        (100, 13, ["conserve.free-memory"]),
        (100, 12, []),
        (64, None, []),
        (64, -500, []),
        (63, 900, []),
    ],
)
def test_a_frame_in_eight_rounds_may_be_a_leak(rounds: int, gone: int | None, found: list[str]) -> None:
    assert broken(f"p0: repeat {rounds} 1\np0: exec", gone) == found


@pytest.mark.parametrize(("gone", "found"), [(64, ["conserve.free-memory"]), (63, [])])
def test_where_something_else_is_wrong_and_nobody_asks_again_it_takes_a_frame_a_round(gone: int, found: list[str]) -> None:
    assert broken("p0: repeat 64 1\np0: exec", gone, tables=6) == ["tables.conserved", *found]


def test_idle_children_fill_the_caches_of_a_kernel() -> None:
    assert broken("p0: repeat 64 2\np0: crowd 9\np0: disperse", 900) == []
