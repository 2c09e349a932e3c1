"""Which contracts a difference breaks.

One piece of evidence can break several sentences: a refcount that stays too high after an exit breaks the general rule,
the rule about exit, and the rule that nothing inflates. The most specific comes first. These functions only look at what
the model and the program say happened; they never decide *whether* something is a divergence.
"""

from __future__ import annotations

from harness.compare.blame.departures import after_teardown, by_threads, shared_space
from harness.compare.blame.outcome import wrong_outcome
from harness.compare.blame.special import with_special
from harness.compare.blame.state import leftover, wrong_state

__all__ = [
    "after_teardown",
    "by_threads",
    "leftover",
    "shared_space",
    "with_special",
    "wrong_outcome",
    "wrong_state",
]
