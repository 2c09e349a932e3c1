"""The second observer: what the processes of a program map, read from RAM while they stand still."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace

from harness.guest.mailbox import Notice
from harness.guest.ram import GuestRam
from harness.introspect.page_walk import BrokenTables, Format, Space, frame_of, read_space
from harness.introspect.roots import Roots
from harness.program.trace import Observation, PageSeen, Trace


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

    def enrich(self, trace: Trace) -> Trace:
        """Add what was seen from outside to the observations of `trace`: the bits of each page that is present."""
        looks = {look.after: look for look in self.looks}
        enriched = (_enriched(seen, looks[seen.after]) if seen.after in looks else seen for seen in trace.observations)
        return replace(trace, observations=tuple(enriched))


def _enriched(seen: Observation, look: Look) -> Observation:
    processes = dict(seen.processes)
    for slot, space in look.spaces.items():
        if slot in processes:
            pages = {vpn: _page(page, space, vpn) for vpn, page in processes[slot].pages.items()}
            processes[slot] = replace(processes[slot], pages=pages)
    return replace(seen, processes=processes)


def _page(page: PageSeen, space: Space, vpn: int) -> PageSeen:
    leaf = space.leaf(vpn)
    if leaf is None:
        return page
    return replace(page, writable=leaf.user and leaf.writable, dirty=leaf.dirty, accessed=leaf.accessed)
