"""Whether a kernel tears down late, where its definition does not know: found out, and doubted ever after.

Counts may be compared at a quiet point, when nothing that the kernel has put off is still to be done. A kernel that puts
nothing off is at one whenever all processes sleep. One that frees address spaces in its idle loop, a worker or an RCU
callback has to be waited for: until its counts are the same `still` times running. To do that at each look costs a kernel
that is quiet at once some 30 ms, and most are.

It would be wrong to wait only where the first look disagrees with the model. What was put off may drop a reference too many
as well as the right one, and before it is done the counts agree: "agrees now" would hide just what a double teardown does.
So a look without a wait counts only on a kernel of which we have reason to think that it puts nothing off:

1. At boot, programs that leave much to tear down run with the wait. Counts that move in it mean that the kernel is late.
2. As not all lateness shows there, one program in EVERY waits as well, for ever. Which ones depends on the program alone,
   so that the same program is always looked at in the same way. Counts that move mean that the kernel is late; counts that
   become wrong are a finding.
3. A finding made without the wait runs again with it, and without it. Where the wait alone makes the difference, both
   times, the kernel is late, and what was seen was no quiet point (`Runner`). Where it makes none, it is a finding. As a
   look comes too early by chance, what is not seen again is looked for some times more before that is said.

Once late is late to the end of the run: each look waits then, as it does where a definition says so. That is all that the
third rule grants; no finding is dropped that a definition with the wait would have shown.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from harness.agent.codec import encode_program
from harness.guest.definition_values import Quiescence
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Trace
from harness.subject import How

EVERY = 8
"""One program in so many waits, though the kernel seems to be quiet at once."""

_NPAGES = 8


def _fill(process: str, byte: int) -> str:
    return "".join(f"{process}: fill a[{page}] {byte}\n" for page in range(_NPAGES))


_PAGES = f"p0: map a {_NPAGES} rw private anon\n" + _fill("p0", 1)
MUCH_TO_TEAR_DOWN = tuple(
    parse_program(_PAGES + text)
    for text in (
        f"p0: fork p1\n{_fill('p1', 2)}observe\np1: exit 0\nobserve\np0: wait p1\n",
        f"p0: fork p1\n{_fill('p1', 2)}observe\np1: exec\nobserve\np1: exit 0\nobserve\n",
        "p0: fork p1\np1: fork p2\np2: crash store text[0]\np1: wait p2\np1: exit 0\nobserve\np0: unmap a[0..7]\n",
    )
)
"""Programs whose processes end and exec with many pages, some of which others hold still."""


class Patience:
    """Knows whether one kernel has to be waited for."""

    def __init__(self, quiescence: Quiescence) -> None:
        may_be_late = quiescence.still > 0 and quiescence.bound_ms > 0
        self.is_late = may_be_late and not quiescence.probe
        """Whether each look waits."""
        self._is_known = not may_be_late or not quiescence.probe
        self.note = ""

    @property
    def is_hasty(self) -> bool:
        """Whether looks do not wait, though the kernel may turn out to be late."""
        return not self.is_late and not self._is_known

    def probe(self, execute: Callable[[Program, How], Trace]) -> None:
        """Find out at boot; see rule 1."""
        for program in MUCH_TO_TEAR_DOWN:
            if self.is_hasty:
                self.heed(execute(program, How(patient=True)))

    def heed(self, trace: Trace) -> None:
        """Take in what a trace says: see rules 1 and 2."""
        if trace.is_late and self.is_hasty:
            self.wait_from_now_on()

    def wait_from_now_on(self) -> None:
        """Let each look wait."""
        self.is_late = True
        self.note = "the kernel tears down late, so each look waits until its counts are still"

    def wants_wait(self, program: Program) -> bool:
        """Whether the looks at `program` have to wait; see rule 2."""
        return self.is_late or (self.is_hasty and zlib.crc32(encode_program(program, flags=0)) % EVERY == 0)
