"""What a step may report: a finite set of outcomes, with the clause that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.program.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Allowed:
    """The outcomes that the contracts allow here. Almost always it is one.

    `clause` cites where the set comes from. An `observe` step allows none and asks for none.
    `adopt`, where the state depends on which of them the guest chose, tells the model; it is called with
    the outcome, one of the set, before the next step.
    """

    outcomes: tuple[Outcome, ...]
    clause: str
    adopt: Callable[[Outcome], None] | None = None

    def permits(self, outcome: Outcome | None) -> bool:
        """Tell whether a guest may report `outcome` (None is what an `observe` step reports)."""
        return outcome in self.outcomes if self.outcomes else outcome is None

    @property
    def only(self) -> Outcome | None:
        """The one allowed outcome; None where there is a choice, or nothing to report."""
        return self.outcomes[0] if len(self.outcomes) == 1 else None
