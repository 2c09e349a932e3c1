"""What `resolve` knows at each point of the program that it builds: who lives, and what is mapped where.

Pages and processes are looked up by *wish*. A raw operation carries an absolute number (page 3, slot 7),
and the scene answers with the nearest one that is there: the greatest that is not above the wish, else
the least. That is consistent hashing: when the shrinker deletes a fork or a map, only the operations
that used just this process or these pages go elsewhere, to the neighbour below; all others stay as they
are. (An index modulo the length of the list would move nearly all of them.)

*Slots* stand for processes. A fork wishes for a slot, and slots are never used twice, so a process keeps
its slot though an earlier fork is deleted and all later names move up. What a dead process was to do falls
to the one below, as if it had never been forked, and is lost where nobody is left below. Were it given to
one above, programs would shrink to ones in which a parent must die so that its child can act for it.

*Ranks* stand for pages. All arena pages are numbered upwards from the program's origin, round to the
page before it, and the image's pages follow. Rank 0 is the hottest page.

The map of each process is a guess for steering, by permissions of pages alone; it is not the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.program.image import IMAGES, OWN
from harness.program.ops import Observe, Op
from harness.program.program import MAX_PROCESSES, Family
from harness.program.units import ARENA, FAR, HEAP, IMAGE, WINDOW_BY_NAME, Address, PageRange, Prot, address_of, in_windows

IMAGE_ORDER = ("data", "bss", "text", "heap", "bssend", "textend")
"""The order in which image pages are taken where a process has no arena page that would do."""

ALL_WINDOWS = tuple(window.name for window in (*ARENA, *IMAGE, HEAP, *FAR))

_AGAIN = 4
"""Of so many waits that have nobody to wait for, one asks again for a child that is gone."""

Layout = dict[int, Prot]
"""The pages that a process has, by rank, and what it may do with them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one program. Lengths are in steps; `max_pages` counts pages of arena windows."""

    min_steps: int = 1
    max_steps: int = 30
    max_processes: int = 6
    max_pages: int = 16
    containing: tuple[type[Op], ...] = ()
    windows: tuple[str, ...] = ALL_WINDOWS


def nearest(there: Iterable[int], wish: int) -> int | None:
    """Give the greatest of `there` not above `wish`, else the least; None where there is none."""
    best: int | None = None
    for each in there:
        if best is None or (best < each <= wish) or (each < best and best > wish):
            best = each
    return best


class Space:
    """The pages that a program may use, numbered from its origin (see the head of this module)."""

    def __init__(self, windows: tuple[str, ...], origin: Address) -> None:
        arena = [(w.name, i) for w in ARENA if w.name in windows for i in w.indexes]
        start = arena.index((origin.window, origin.index)) if origin.window in windows else 0
        image = [(name, i) for name in IMAGE_ORDER if name in windows for i in range(WINDOW_BY_NAME[name].npages)]
        self.pages = arena[start:] + arena[:start] + image
        self.rank_of = {page: rank for rank, page in enumerate(self.pages)}
        self.arena_size = len(arena)

    def rank(self, wish: int) -> int:
        """Turn any number into the rank of a page, an arena page where there are any."""
        return wish % (self.arena_size or len(self.pages))

    def ranks(self, pages: PageRange) -> list[int]:
        """Give the ranks of the watched pages of `pages`, in address order."""
        within = range(pages.first, pages.first + len(pages.vpns))
        return [self.rank_of[pages.window, index] for index in WINDOW_BY_NAME[pages.window].indexes if index in within]

    def image(self, name: str = OWN) -> Layout:
        """Give the layout of a process right after the exec of an image."""
        return {
            self.rank_of[place.window, place.index]: segment.prot
            for segment in IMAGES[name].segments
            for vpn in in_windows(segment.vpn, segment.vpn + segment.npages)
            if (place := address_of(vpn)) and (place.window, place.index) in self.rank_of
        }


@dataclass(slots=True)
class Scene:
    """The program so far, and the state that it leads to."""

    limits: Limits
    space: Space
    steps: list[Op] = field(default_factory=list)
    family: Family = field(default_factory=Family)
    missing: list[type[Op]] = field(default_factory=list)
    """Those operations of `limits.containing` that have not been done yet."""
    slot_of: dict[int, int] = field(default_factory=lambda: {0: 0})
    layouts: dict[int, Layout] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    """The ranks of the arena pages that any process has mapped so far."""

    def __post_init__(self) -> None:
        """Start with p0, whose memory is the image."""
        self.layouts[0] = self.space.image()
        self.missing.extend(self.limits.containing)

    def emit(self, op: Op) -> None:
        """Append a step. It must be well formed here."""
        self.family.apply(op)
        self.steps.append(op)
        if type(op) in self.missing:
            self.missing.remove(type(op))

    # ------------------------------------------------------------------------------ processes

    @property
    def alone(self) -> bool:
        """Whether at most one process lives."""
        return len(self.family.live) <= 1

    def actor(self, wish: int) -> int | None:
        """Give the live process whose slot is nearest to `wish` and not above; None where there is none.

        Below one that waits inside vfork acts the child for which it waits. What it was to do itself is lost: else
        programs would shrink to ones in which a child of vfork acts, since its parent's number is smaller.
        """
        below = [process for process in self.family.live if self.slot_of[process] <= wish]
        found = max(below, key=self.slot_of.__getitem__, default=None)
        if found in self.family.suspended and self.slot_of[found] == wish:
            return None
        while found is not None and found in self.family.suspended:
            found = self.family.suspended[found]
        return found

    def reapable(self, wish: int) -> int | None:
        """Give the ended child, not yet waited for, whose parent can wait for it and whose slot is nearest."""
        active, parent = self.family.active, self.family.parent
        ended = [child for child in self.family.zombies if parent[child] in active]
        return self._by_slot(ended, wish) if ended else None

    def reaped(self, wish: int) -> int | None:
        """Give the child that was waited for, whose parent can ask for it again and whose slot is nearest."""
        active, parent = self.family.active, self.family.parent
        gone = [child for child in self.family.waited if parent[child] in active]
        return self._by_slot(gone, wish) if gone else None

    def awaited(self, wish: int) -> int | None:
        """Give the child that a wait is for: one to be reaped, or else, now and then, one that was."""
        child = self.reapable(wish)
        return self.reaped(wish) if child is None and wish % _AGAIN == _AGAIN - 1 else child

    def victim(self, killer: int, wish: int) -> int | None:
        """Give the process whom `killer` may kill whose slot is nearest, now and then one that has ended; or None."""
        gone = self.family.gone() if wish % _AGAIN == _AGAIN - 1 else []
        victims = gone or self.family.victims(killer)
        return self._by_slot(victims, wish) if victims else None

    def pokable(self, process: int, wish: int) -> int | None:
        """Give the process into whose memory `process` may write whose slot is nearest, or None."""
        others = self.family.pokable(process)
        return self._by_slot(others, wish) if others else None

    def _by_slot(self, processes: Iterable[int], wish: int) -> int:
        by_slot = {self.slot_of[process]: process for process in processes}
        slot = nearest(by_slot, wish)
        assert slot is not None
        return by_slot[slot]

    @property
    def may_fork(self) -> bool:
        """Whether one more process may live, and has a name and a slot."""
        return len(self.family.live) < self.limits.max_processes and len(self.slot_of) < MAX_PROCESSES

    def add_child(self, parent: int, wish: int, *, shares: bool = False) -> int:
        """Name a child of `parent`; its slot is the first free one from `wish` on. Needs `may_fork`.

        Where it `shares` its parent's address space, what one of them maps is there for both.
        """
        child = len(self.slot_of)
        taken = set(self.slot_of.values())
        self.slot_of[child] = next(slot for i in range(MAX_PROCESSES) if (slot := (wish + i) % MAX_PROCESSES) not in taken)
        self.layouts[child] = self.layouts[parent] if shares else dict(self.layouts[parent])
        return child

    def copied_layouts(self) -> dict[int, Layout]:
        """Give a copy of all layouts, in which those that share one layout share one again."""
        copies = {id(each): dict(each) for each in self.layouts.values()}
        return {process: copies[id(each)] for process, each in self.layouts.items()}

    # ---------------------------------------------------------------------------------- pages

    def find(self, process: int, wish: int, need: Prot) -> int:
        """Give the page of `process` nearest to `wish` that allows `need`; the wish where none does.

        A page of the arena is better than one of the image. Where `need` is `Prot.NONE` a higher page is no
        better than a hole: else programs shrink to ones that unmap page 0, so that the next unmap hits page 1.

        `Prot.R` asks for any access at all, since on most machines a page that may be written or
        executed may be read too; `Prot.NONE` asks for a mapped page only.
        """
        fit = [rank for rank, prot in self.layouts[process].items() if (prot if need is Prot.R else need in prot)]
        arena = self.space.arena_size
        mapped = [rank for rank in fit if rank < arena]
        found = nearest(mapped, wish) if mapped else nearest(fit, arena + wish)
        if mapped and not need and found is not None and found > wish:
            return wish
        return wish if found is None else found

    def address(self, rank: int, offset: int = 0) -> Address:
        """Give the place `offset` bytes into the page of a rank."""
        window, index = self.space.pages[rank]
        return Address(window, index, offset)

    def pages_from(self, rank: int, npages: int) -> PageRange:
        """Give the range of at most `npages` watched pages from a rank on, clipped to its window."""
        window, first = self.space.pages[rank]
        indexes = WINDOW_BY_NAME[window].indexes
        at = indexes.index(first)
        within = indexes[at : at + npages]
        return PageRange(window, first, within[-1] + 1 - first if within else 0)

    @property
    def _room(self) -> int:
        return max(0, self.limits.max_pages - len(self.used))  # a story may have taken more

    def has_room_for(self, pages: PageRange) -> bool:
        """Tell whether `pages` can be mapped within `max_pages`."""
        arena = self.space.arena_size
        return sum(rank < arena and rank not in self.used for rank in self.space.ranks(pages)) <= self._room

    def room_for(self, rank: int, npages: int) -> PageRange:
        """Like `pages_from`, for a new mapping: it keeps `max_pages`, and or goes to used pages."""
        room = self._room
        if not room and rank < self.space.arena_size and rank not in self.used:
            rank = nearest(self.used, rank) or 0
        pages = self.pages_from(rank, npages)
        for count, each in enumerate(self.space.ranks(pages)):
            room -= each < self.space.arena_size and each not in self.used
            if room < 0:
                return self.pages_from(rank, count)
        return pages

    def alone_has_arena(self, process: int) -> bool:
        """Whether this is the only live process that has arena pages."""
        arena = self.space.arena_size
        having = [each for each in self.family.live if any(rank < arena for rank in self.layouts[each])]
        return having == [process]

    @property
    def idle(self) -> bool:
        """Whether an observation here would show nothing that the one before did not."""
        return not self.steps or isinstance(self.steps[-1], Observe)
