"""The second observer: what the processes of a program map, read from RAM while they stand still."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from harness.guest.mailbox import SETTLING, Notice
from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.introspect.counts import Counts
from harness.introspect.page_walk import BrokenTables, Format, Space, Walker, frame_of
from harness.introspect.roots import Roots
from harness.program.ops import Crowd
from harness.program.program import Program
from harness.program.trace import (
    Frame,
    FrameFlag,
    FrameSeen,
    Observation,
    PageSeen,
    ProcessSeen,
    Runs,
    Trace,
    runs_of,
)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen when `after` steps were done: the address space of each slot whose tables could be read.

    `roots` are the frames of their root tables. `counts` are the kernel's own numbers for the frames of the program's
    pages, and `bytes` what these frames held, where somebody wants to know. `live` are the slots that there were.
    """

    after: int
    spaces: dict[int, Space]
    roots: dict[int, int] = field(default_factory=dict)
    counts: dict[Frame, FrameSeen] = field(default_factory=dict)
    bytes: dict[Frame, bytes] = field(default_factory=dict)
    live: frozenset[int] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether nobody's tables are missing."""
        return self.live <= set(self.spaces)

    def mapcounts(self, frames: Collection[Frame] | None = None) -> Counter[Frame]:
        """Count the entries that hold each frame, or each of `frames`, over all address spaces; one that is shared counts
        once.
        """
        each = {self.roots[slot]: space for slot, space in self.spaces.items()}
        counts: Counter[Frame] = Counter()
        for space in each.values():
            if not space.has_large:
                holds = space.holds
                counts.update(holds if frames is None else {frame: holds[frame] for frame in frames})
                continue
            for leaf in space.leaves.values():
                if leaf.npages == 1:
                    counts[leaf.frame] += 1
                elif frames is None:
                    counts.update(range(leaf.frame, leaf.frame + leaf.npages))
                else:
                    counts.update(frame for frame in frames if 0 <= frame - leaf.frame < leaf.npages)
        return counts


@dataclass(slots=True)
class Cost:
    """What looking took, where the roots were known."""

    seconds: float = 0.0
    processes: int = 0


class Observer:
    """Looks at one machine whenever its agent asks."""

    def __init__(self, ram: GuestRam, form: Format) -> None:
        self.ram = ram
        self.form = form
        self.roots = Roots(ram, form)
        self._walker = Walker(ram, form)
        self.cost = Cost()
        self.looks: list[Look] = []
        """All since the last `begin`, in order."""
        self._settling: Look | None = None
        self.zero_frame: Frame | None = None
        """The frame of all pages of zeroes, where the kernel has one and it is known."""
        self.counts: Counts | None = None
        """Reads the kernel's own counts, where it is known how."""
        self.open_counts: Callable[[int], Counts | None] | None = None
        """Opens `counts` at the first look, given the root table of a process, which leads to the kernel's addresses."""
        self._vpns: Sequence[int] = ()
        self._wants_frames = True
        self._runs: dict[bytes, Runs] = {}

    def use(self, form: Format) -> None:
        """Read tables as `form` says from now on."""
        self.form = form
        self._walker = Walker(self.ram, form)
        self.roots.form = form

    def move_to(self, ram: GuestRam) -> None:
        """Look at the machine that has taken the place of this one."""
        self.ram = self._walker.memory = ram
        self.roots.move_to(ram)
        if self.counts is not None:
            self.counts.move_to(ram)

    def begin(self, vpns: Sequence[int], *, wants_frames: bool = True) -> None:
        """Begin a new program, whose pages are `vpns`; `wants_frames` if it is to be read what the kernel counts of their
        frames, and what these hold.
        """
        self.looks = []
        self._settling = None
        self._vpns = vpns
        self._wants_frames = wants_frames

    def look(self, notice: Notice) -> bool:
        """Read the tables of the processes in `notice`. What makes no sense is left out.

        Gives whether counts moved since the look before, where the agent waits for them to be still (SETTLING).
        """
        began, searches = time.perf_counter(), self.roots.searches
        roots = self.roots.find(notice)
        spaces: dict[int, Space] = {}
        for slot, root in roots.items():
            try:
                spaces[slot] = self._walker.space(root)
            except BrokenTables:
                continue
        if self.open_counts is not None and roots:
            opener, self.open_counts = self.open_counts, None
            self.counts = opener(next(iter(roots.values())))
        live = frozenset(slot for _, slot, _ in notice.processes)
        look = Look(notice.after, spaces, roots, live=live)
        if self._wants_frames:
            self._look_at_frames(look)
        if not notice.stands():
            return False  # they ran while we read: what was seen was never there at one moment
        if notice.after == SETTLING:
            before, self._settling = self._settling, look
            return before is not None and before.counts != look.counts
        self.looks.append(look)
        if self.roots.searches == searches:
            self.cost.seconds += time.perf_counter() - began
            self.cost.processes += len(spaces)
        return False

    def _look_at_frames(self, look: Look) -> None:
        leaves = [(vpn, space.leaf(vpn)) for space in look.spaces.values() for vpn in self._vpns]
        # kernels count the 512 frames of a large page each for itself, or by their first alone, or in another way
        in_large = {frame_of(leaf, vpn) for vpn, leaf in leaves if leaf is not None and leaf.npages > 1}
        for frame in {frame_of(leaf, vpn) for vpn, leaf in leaves if leaf is not None}:
            if self.counts is not None and frame not in in_large:
                look.counts[frame] = self.counts.read(frame)
            if (content := self._bytes(frame)) is not None:
                look.bytes[frame] = content

    def _bytes(self, frame: Frame) -> bytes | None:
        place = self.ram.offset(frame * PAGE_SIZE)
        return None if place is None else self.ram.bytes[place : place + PAGE_SIZE].tobytes()

    # ------------------------------------------------------------------ what was seen, as a trace has it

    def enrich(self, program: Program, trace: Trace) -> Trace:
        """Add what was seen from outside to the observations of `trace`, a run of `program`.

        The bits of each page that is present; and presence, frames and counts where the kernel does not show them. What was
        seen where the agent has left an observation to us is added too.
        """
        looks = {look.after: look for look in self.looks}
        hides_holders = any(isinstance(step, Crowd) for step in program.steps)
        by_agent = {each.after for each in trace.observations}
        left_to_us = [look for after, look in looks.items() if after not in by_agent and look.is_whole]
        seen = [
            self._enriched(each, looks[each.after], hides_holders) if each.after in looks else each
            for each in trace.observations
        ]
        seen += [self._alone(look, hides_holders) for look in left_to_us if self._wants_frames]
        return replace(trace, observations=tuple(sorted(seen, key=lambda each: each.after)))

    def _alone(self, look: Look, hides_holders: bool) -> Observation:
        """Make an observation of what was seen from outside alone."""
        processes = {
            slot: ProcessSeen({vpn: self._page_alone(look, space, vpn) for vpn in self._vpns})
            for slot, space in look.spaces.items()
        }
        seen = Observation(look.after, processes)
        return replace(seen, frames=self._frames(seen, look, is_whole=not hides_holders))

    def _page_alone(self, look: Look, space: Space, vpn: int) -> PageSeen:
        leaf = space.leaf(vpn)
        if leaf is None:
            return _ABSENT
        frame = frame_of(leaf, vpn)
        content = look.bytes.get(frame) if leaf.present and leaf.user else None
        runs = None if content is None else self._runs_of(content)
        return PageSeen(True, frame, runs, leaf.user and leaf.writable, leaf.dirty, leaf.accessed)

    def _runs_of(self, content: bytes) -> Runs:
        runs = self._runs.get(content)
        if runs is None:
            if len(self._runs) > _MOST_RUNS:
                self._runs.clear()
            runs = self._runs[content] = runs_of(content)
        return runs

    def _enriched(self, seen: Observation, look: Look, hides_holders: bool) -> Observation:
        processes = dict(seen.processes)
        for slot, space in look.spaces.items():
            if slot in processes:
                pages = {vpn: _page(page, space, vpn) for vpn, page in processes[slot].pages.items()}
                processes[slot] = replace(processes[slot], pages=pages)
        seen = replace(seen, processes=processes)
        is_whole = not hides_holders and set(look.spaces) == set(seen.processes)
        return replace(seen, frames=self._frames(seen, look, is_whole=is_whole))

    def _frames(self, seen: Observation, look: Look, *, is_whole: bool) -> dict[Frame, FrameSeen]:
        """Say what is known of each frame; who maps it, only where everybody's tables were read."""
        frames = dict(seen.frames)
        shown = {page.frame for process in seen.processes.values() for page in process.pages.values()}
        uncounted = {frame for frame in shown if frame is not None and frames.get(frame, _NOTHING).mapcount is None}
        uncounted -= {frame for frame, kept in look.counts.items() if kept.mapcount is not None}
        counts = look.mapcounts(uncounted) if uncounted and is_whole else None
        for frame in shown:
            if frame is not None:
                frames[frame] = self._frame(frame, frames.get(frame, _NOTHING), look, counts)
        return frames

    def _frame(self, frame: Frame, inside: FrameSeen, look: Look, walked: Counter[Frame] | None) -> FrameSeen:
        """Put together what is known of one frame: the kernel's files first, then its memory, then the walk."""
        if frame == self.zero_frame:
            return replace(inside, flags=(inside.flags or FrameFlag(0)) | FrameFlag.ZERO_PAGE)
        outside = look.counts.get(frame, _NOTHING)
        mapcount = inside.mapcount if inside.mapcount is not None else outside.mapcount
        if mapcount is None and walked is not None:
            mapcount = walked[frame]
        return FrameSeen(
            mapcount,
            inside.refcount if inside.refcount is not None else outside.refcount,
            inside.flags if inside.flags is not None else outside.flags,
        )

    def with_leftover(self, trace: Trace, *, wait: Callable[[int], bool]) -> Trace:
        """Add the frames that are still in use to the trace of a program whose processes are all gone; a kernel may be
        late, so it is asked again while `wait`, told how many there are, says so.
        """
        found = self._in_use(self._last_bytes())
        while found and wait(len(found)):
            found = self._in_use(found)
        lost = {frame: self.counts.read(frame) for frame in found} if self.counts else {}
        return replace(trace, leftover={**lost, **(trace.leftover or {})})

    def _last_bytes(self) -> dict[Frame, bytes]:
        last: dict[Frame, bytes] = {}
        for look in self.looks:
            last |= look.bytes
        return last

    def _in_use(self, last: dict[Frame, bytes]) -> dict[Frame, bytes]:
        """Choose the frames of `last` that are in use: that the kernel counts, and that hold what they held when they were
        seen last. One that was given back and handed out again holds something else; one of zeroes tells nothing.
        """
        if self.counts is None or not self.counts.tells_free:
            return {}
        found = {}
        for frame, content in last.items():
            seen = self.counts.read(frame)
            holders = seen.refcount if seen.refcount is not None else seen.mapcount
            if holders and frame != self.zero_frame and any(content) and self._bytes(frame) == content:
                found[frame] = content
        return found


_MOST_RUNS = 4096
_NOTHING = FrameSeen()
_ABSENT = PageSeen(present=False)


def _page(page: PageSeen, space: Space, vpn: int) -> PageSeen:
    leaf = space.leaf(vpn)
    if page.present is None:
        # what was read of an absent page is what the reading made of it: a stack grows by it
        content = page.content if leaf else None
        page = replace(page, present=leaf is not None, frame=frame_of(leaf, vpn) if leaf else None, content=content)
    if leaf is None:
        return page
    return replace(page, writable=leaf.user and leaf.writable, dirty=leaf.dirty, accessed=leaf.accessed)
