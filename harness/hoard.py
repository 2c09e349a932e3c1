"""Whether frames that rounds of steps take from the free memory are lost, or kept by the kernel for a while.

What a kernel keeps has a bound, and what it loses has none. So where a run of such a program costs a frame in
ROUNDS_A_FRAME rounds, or more, the same program runs again on the same guest, and what is gone since before the first run
adds up, until more is gone than any kernel keeps, or the last RUNS runs together cost less than that.

What sound kernels keep, over some hundred rounds, and why the bar is where it is:

- Most programs cost nothing, some up to 75 frames the first time (270 once, of 2,900 on nine guests) and few from then on:
  slabs and lists of each CPU.
- Linux keeps up to a frame in 10 rounds through dozens of runs where rounds make many processes, some 100 frames in all,
  and gives some of that back now and then, by RCU. A bar below that would wait for it, and find no more than it costs.
- A debug kernel does not give away again what has just been freed, so that whoever uses it still is seen: KASAN keeps
  objects in a quarantine of up to 1/32 of the memory (mm/kasan/quarantine.c, QUARANTINE_FRACTION). Until that is full each
  round costs up to several frames, or a part of one. So nothing but the bound tells a slow leak from that.

Single runs differ by some frames for others' sake, either way, so that a kernel which loses just what the bar says may
pass. One that loses twice as much, a frame in four rounds, is looked at again unless half of that comes free in the first
run, as it did once in those 2,900, and it takes another program then. (At a bar of a frame a round a kernel
that lost just that passed where any frame came free.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.compare.compare import ROUNDS_A_FRAME
from harness.compare.verdict import Verdict

PART = 16
"""The part of the free memory beyond which nothing is kept for a while: that of the whole is twice as small."""

RUNS = 4
"""How many runs are looked at together."""

_LOST = "conserve.free-memory"


@dataclass(slots=True)
class Hoard:
    """What one kernel may have kept so far, while one program ran several times."""

    free: list[int] = field(default_factory=list)
    """How many frames were free before the first run, and after each."""

    @property
    def runs(self) -> int:
        """How often the program ran."""
        return max(len(self.free) - 1, 0)

    @property
    def frames(self) -> int:
        """How many frames are gone since before the first run."""
        return self.free[0] - self.free[-1] if self.free else 0

    @property
    def is_full(self) -> bool:
        """Whether more is gone than a kernel keeps."""
        return bool(self.free) and self.frames > self.free[0] // PART

    def may_hold_what_went(self, verdict: Verdict) -> bool:
        """Take in one more run, and tell whether it takes another to know: nothing is wrong but that frames went."""
        free = verdict.trace.free
        if free is None or not _is_of_free_memory_alone(verdict) or (verdict.conforms and not self.free):
            return False
        self.free += free[1:] if self.free else free
        return not self.is_full and not self._is_quiet(verdict.program.rounds)

    def _is_quiet(self, rounds: int) -> bool:
        """Whether the last runs cost less than a loss would, which takes two to say."""
        runs = min(self.runs, RUNS)
        lately = self.free[-1 - runs] - self.free[-1]
        return runs > 1 and lately * ROUNDS_A_FRAME < runs * rounds

    def judge(self, first: Verdict, last: Verdict) -> Verdict:
        """Say what came of it, where nothing else was wrong: the first verdict, with all that is gone, or none."""
        if not self.free or not _is_of_free_memory_alone(last):
            return last
        if not self.is_full:
            return replace(last, divergences=(), rows=())
        (lost,) = first.divergences
        runs = f"{self.runs} run{'s' if self.runs > 1 else ''}"
        return replace(first, divergences=(replace(lost, observed=f"{self.frames} frames gone in {runs}"),))


def _is_of_free_memory_alone(verdict: Verdict) -> bool:
    return all(_LOST in each.contracts for each in verdict.divergences) and len(verdict.divergences) < 2
