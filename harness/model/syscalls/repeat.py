"""repeat: the steps that follow are done several times."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Repeat

_NOTHING = Allowed((), "a repetition reports no outcome of its own")


def repeat(machine: Machine, _op: Repeat) -> Allowed:
    """Do nothing: who follows the program does the rounds but the last (`step.rehearse`), and then goes on.

    Source: none; it is no system call but a loop of the program's.
    """
    # CHECKS
    # none.

    # EFFECT
    machine.reach["repeat"] += 1

    # OUTCOME
    return _NOTHING
