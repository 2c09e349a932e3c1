"""observe: the whole state is looked at, which changes nothing."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Observe

_NOTHING = Allowed((), "an observation reports no outcome")


def observe(_machine: Machine, _op: Observe) -> Allowed:
    """Do nothing. What may be seen is what `adopt.expected_pages` says."""
    # CHECKS
    # none.

    # EFFECT
    # none: the comparison may adopt the choices that the observation shows.

    # OUTCOME
    return _NOTHING
