"""The second observer: what the processes of a program map, read from RAM while they stand still."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace

from harness.guest.mailbox import Notice
from harness.guest.ram import GuestRam
from harness.introspect.page_walk import BrokenTables, Format, Space, frame_of, read_space
from harness.introspect.roots import Roots
from harness.program.ops import Crowd
from harness.program.program import Program
from harness.program.trace import Frame, FrameFlag, FrameSeen, Observation, PageSeen, Trace


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen when `after` steps were done: the address space of each slot whose tables could be read."""

    after: int
    spaces: dict[int, Space]
    roots: dict[int, int] = field(default_factory=dict)

    def mapcounts(self) -> Counter[int]:
        """Count the entries that hold each frame, over all address spaces; one that is shared counts once."""
        each = {self.roots[slot]: space for slot, space in self.spaces.items()}
        counts: Counter[int] = Counter()
        for space in each.values():
            for vpn, leaf in space.leaves.items():
                counts.update(frame_of(leaf, page) for page in range(vpn, vpn + leaf.npages))
        return counts


@dataclass(slots=True)
class Cost:
    """What looking took, where the roots were known."""

    seconds: float = 0.0
    processes: int = 0


class Observer:
    """Looks at one machine whenever its agent asks."""

    def __init__(self, ram: GuestRam, form: Format) -> None:
        self._ram = ram
        self._form = form
        self.roots = Roots(ram, form)
        self.cost = Cost()
        self.looks: list[Look] = []
        """All since the last `forget`, in order."""
        self.zero_frame: Frame | None = None
        """The frame of all pages of zeroes, where the kernel has one and it is known."""

    def move_to(self, ram: GuestRam) -> None:
        """Look at the machine that has taken the place of this one."""
        self._ram = self.roots.ram = ram

    def forget(self) -> None:
        """Begin a new program."""
        self.looks = []

    def look(self, notice: Notice) -> None:
        """Read the tables of the processes in `notice`. What makes no sense is left out."""
        began, searches = time.perf_counter(), self.roots.searches
        roots = self.roots.find(notice)
        spaces: dict[int, Space] = {}
        for slot, root in roots.items():
            try:
                spaces[slot] = read_space(self._ram, self._form, root)
            except BrokenTables:
                continue
        self.looks.append(Look(notice.after, spaces, roots))
        if self.roots.searches == searches:
            self.cost.seconds += time.perf_counter() - began
            self.cost.processes += len(spaces)

    def enrich(self, program: Program, trace: Trace) -> Trace:
        """Add what was seen from outside to the observations of `trace`, a run of `program`.

        The bits of each page that is present; and presence, frames and mapcounts where the kernel does not show them.
        """
        looks = {look.after: look for look in self.looks}
        hides_holders = any(isinstance(step, Crowd) for step in program.steps)
        enriched = (
            self._enriched(seen, looks[seen.after], hides_holders) if seen.after in looks else seen
            for seen in trace.observations
        )  # fmt: skip
        return replace(trace, observations=tuple(enriched))

    def _enriched(self, seen: Observation, look: Look, hides_holders: bool) -> Observation:
        processes = dict(seen.processes)
        walked: set[Frame | None] = set()
        for slot, space in look.spaces.items():
            if slot in processes:
                pages = {vpn: _page(page, space, vpn) for vpn, page in processes[slot].pages.items()}
                walked |= {pages[vpn].frame for vpn, page in processes[slot].pages.items() if page.present is None}
                processes[slot] = replace(processes[slot], pages=pages)
        # who maps a frame is known only where everybody's tables were read
        is_whole = not hides_holders and set(look.spaces) == set(seen.processes)
        counts = look.mapcounts() if walked and is_whole else None
        frames = dict(seen.frames)
        for frame in walked:
            if frame is None:
                continue
            is_zero = frame == self.zero_frame
            flags = FrameFlag.ZERO_PAGE if is_zero else None
            frames.setdefault(frame, FrameSeen(counts[frame] if counts and not is_zero else None, flags=flags))
        return replace(seen, processes=processes, frames=frames)


def _page(page: PageSeen, space: Space, vpn: int) -> PageSeen:
    leaf = space.leaf(vpn)
    if page.present is None:
        # what was read of an absent page is what the reading made of it: a stack grows by it
        content = page.content if leaf else None
        page = replace(page, present=leaf is not None, frame=frame_of(leaf, vpn) if leaf else None, content=content)
    if leaf is None:
        return page
    return replace(page, writable=leaf.user and leaf.writable, dirty=leaf.dirty, accessed=leaf.accessed)
