"""What a kernel keeps of what was freed is told from what it loses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from harness.hoard import PART
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Accounting, Trace
from harness.runner import Runner
from harness.subject import How

ROUNDS = parse_program("p0: repeat 100 1\np0: load data[0]")
MEMORY = 20_000


@dataclass
class Keeper:
    """The toy kernel, of which each run of ROUNDS takes `costs` frames until `most` are gone."""

    costs: int
    most: int
    name: str = "fake"
    semantics: str = "model"
    levels: frozenset[Level] = frozenset({Level.OUTCOMES})
    gone: int = 0
    runs: int = 0

    def execute(self, program: Program, how: How) -> Trace:
        trace = ModelGuest().execute(program, how)
        was = self.gone
        self.gone = min(was + self.costs, self.most)
        self.runs += 1
        return replace(trace, before=Accounting(free=MEMORY - was), after=Accounting(free=MEMORY - self.gone))

    def header(self) -> list[str]:
        return []

    def restore(self) -> None:
        self.gone = 0

    def close(self) -> None:
        """There is nothing to let go of."""


def test_a_quarantine_that_fills_up_is_no_leak() -> None:
    keeper = Keeper(costs=500, most=MEMORY // 32)
    runner = Runner(keeper, PRESETS["model"])

    verdict = runner.run(ROUNDS)

    assert verdict.conforms
    assert runner.statistics.findings == 0
    assert runner.statistics.hoarded == MEMORY // 32


@pytest.mark.parametrize("costs", [25, 100, 3000])
def test_what_is_gone_after_each_run_is_lost(costs: int) -> None:
    keeper = Keeper(costs=costs, most=MEMORY)
    runner = Runner(keeper, PRESETS["model"])

    verdict = runner.run(ROUNDS)

    runs = MEMORY // PART // costs + 1
    assert verdict.divergences[0].contracts[0] == "conserve.free-memory"
    assert verdict.divergences[0].observed == f"{costs * runs} frames gone in {runs} run{'s' * (runs > 1)}"
    assert runner.statistics.hoarded == 0


def test_less_than_a_frame_in_eight_rounds_is_not_looked_at_twice() -> None:
    keeper = Keeper(costs=12, most=MEMORY)

    verdict = Runner(keeper, PRESETS["model"]).run(ROUNDS)

    assert verdict.conforms
    assert keeper.runs == 1


@pytest.mark.parametrize(("costs", "most", "runs"), [(40, 40, 4), (18, 100, 7)])
def test_what_is_kept_is_no_leak_as_soon_as_four_runs_together_cost_less(costs: int, most: int, runs: int) -> None:
    keeper = Keeper(costs=costs, most=most)

    verdict = Runner(keeper, PRESETS["model"]).run(ROUNDS)

    assert verdict.conforms
    assert keeper.runs == runs


class FreeCountAlone(ModelGuest):
    """The toy kernel as one that publishes how much is free, and nothing else; others use a few frames, more or less."""

    used_by_others = 0
    runs = 0

    def execute(self, program: Program, how: How) -> Trace:
        trace = super().execute(program, how)
        assert trace.free is not None
        before, after = trace.free
        was, now = self.used_by_others, (0, 6, 2, 9, 1, 4)[self.runs % 6]
        self.runs, self.used_by_others = self.runs + 1, now
        return replace(trace, before=Accounting(free=before - was), after=Accounting(free=after - now))


@pytest.mark.parametrize("fault", ["fork-leaks-frame", "fork-leaks-at-times", "exec-leaks-frame"])
def test_a_leak_shows_by_the_free_count_alone(fault: str) -> None:
    program = parse_program("p0: repeat 96 4\np0: fork p1\np1: exec\np1: exit 0\np0: wait p1")

    verdict = Runner(FreeCountAlone([fault]), PRESETS["model"]).run(program, How(accounting=True))

    assert verdict.divergences[0].contracts[0] == "conserve.free-memory"


def test_a_sound_kernel_that_publishes_it_alone_is_not_accused() -> None:
    guest = FreeCountAlone()
    runner = Runner(guest, PRESETS["model"])
    for name in range(24):
        program = parse_program(f"p0: repeat {64 + name} 3\np0: fork p1\np1: exit 0\np0: wait p1")

        assert runner.run(program, How(accounting=True)).conforms
