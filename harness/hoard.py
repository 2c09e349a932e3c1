"""Whether frames that rounds of steps take from the free memory are lost, or kept by the kernel for a while.

A debug kernel does not give away again what has just been freed, so that whoever uses it still is seen: KASAN keeps objects
in a quarantine of up to 1/32 of the memory (mm/kasan/quarantine.c, QUARANTINE_FRACTION). Until that is full each round of
fork and exit costs several frames. What a kernel keeps has a bound, and what it loses has none: the same program runs again
on the same guest, until a run of it costs less than a frame a round or more is gone than any kernel keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.compare.verdict import Verdict

PART = 16
"""The part of the free memory beyond which nothing is kept for a while: that of the whole is twice as small."""

_LOST = "conserve.free-memory"


@dataclass(slots=True)
class Hoard:
    """What one kernel may have kept so far, while one program ran several times."""

    frames: int = 0
    is_full: bool = False
    """Whether more is gone than a kernel keeps."""

    def may_hold_what_went(self, verdict: Verdict) -> bool:
        """Tell whether all that is wrong is that frames went which the kernel may have kept; count them."""
        before, after = verdict.trace.before, verdict.trace.after
        wrong = verdict.divergences
        if len(wrong) != 1 or _LOST not in wrong[0].contracts or before is None or after is None:
            return False
        if before.free is None or after.free is None:
            return False
        self.frames += before.free - after.free
        self.is_full = self.frames > (before.free + self.frames) // PART
        return not self.is_full
