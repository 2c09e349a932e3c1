"""What a kernel keeps of what was freed is told from what it loses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

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


@pytest.mark.parametrize("costs", [100, 3000])
def test_what_is_gone_after_each_run_is_lost(costs: int) -> None:
    runner = Runner(Keeper(costs=costs, most=MEMORY), PRESETS["model"])

    verdict = runner.run(ROUNDS)

    assert verdict.divergences[0].contracts[0] == "conserve.free-memory"
    assert verdict.divergences[0].observed == f"{costs} frames gone"
    assert runner.statistics.hoarded == 0


def test_less_than_a_frame_a_round_is_not_looked_at_twice() -> None:
    keeper = Keeper(costs=99, most=MEMORY)

    verdict = Runner(keeper, PRESETS["model"]).run(ROUNDS)

    assert verdict.conforms
    assert keeper.runs == 1
