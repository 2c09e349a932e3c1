"""Every situation of the coverage table has a tour that reaches it."""

from __future__ import annotations

from random import Random

import pytest

from harness.coverage.recorder import Recorder
from harness.coverage.situation import SITUATIONS, Action, Role, Situation
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.step import step
from harness.program.program import MAX_PROCESSES, Program
from strategies.tour import PLACES, Tour, grand_tour

TRIES = 8
"""A state may take one of several ways to touch the page: a load leads to the file's page, a store to a copy."""


def reached(program: Program) -> set[Situation]:
    machine, recorder = Machine(PRESETS["linux-6.1"]), Recorder()
    for op in program.steps:
        recorder.before(machine, op)
        allowed = step(machine, op)
        if allowed.adopt is not None:
            allowed.adopt(allowed.outcomes[0])
    return recorder.situations


def is_reached(situation: Situation, random: Random) -> bool:
    for _ in range(TRIES):
        tour = Tour(random.choice, situation.role)
        tour.visit(situation.memory, situation.state, situation.action)
        if situation in reached(tour.program):
            return True
    return False


def test_a_grand_tour_reaches_every_situation() -> None:
    programs = list(grand_tour("1"))
    found = set().union(*map(reached, programs))

    assert set(SITUATIONS) <= found
    assert max(program.processes for program in programs) <= MAX_PROCESSES


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_every_situation_has_a_tour(action: Action, role: Role) -> None:
    random = Random(f"{action} {role}")
    wanted = [each for each in SITUATIONS if each.action is action and each.role is role]

    assert [each for each in wanted if not is_reached(each, random)] == []
    assert {(each.memory, each.state) for each in wanted} == set(PLACES)
