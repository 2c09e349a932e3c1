"""Free memory is held against that before the program, where it repeats steps so often that a leak tells."""

from __future__ import annotations

import pytest

from harness.compare import compare
from harness.model.presets import PRESETS
from harness.program.outcome import Done
from harness.program.text import parse_program
from harness.program.trace import Accounting, Trace


def broken(text: str, gone: int | None) -> list[str]:
    after = None if gone is None else 1000 - gone
    program = parse_program(text)
    trace = Trace((None,) + (Done(),) * (len(program) - 1), before=Accounting(1000, 5, 5), after=Accounting(after, 5, 5))
    return [each.contracts[0] for each in compare(program, trace, PRESETS["linux-6.1"]).divergences]


@pytest.mark.parametrize(
    ("rounds", "gone", "found"),
    [
        (64, 64, ["conserve.free-memory"]),
        (64, 63, []),
        (64, None, []),
        (64, -500, []),
        (63, 900, []),
    ],
)
def test_a_frame_a_round_is_a_leak_and_less_may_be_kept_for_the_next_time(
    rounds: int, gone: int | None, found: list[str]
) -> None:
    assert broken(f"p0: repeat {rounds} 1\np0: exec", gone) == found


def test_idle_children_fill_the_caches_of_a_kernel() -> None:
    assert broken("p0: repeat 64 2\np0: crowd 9\np0: disperse", 900) == []
