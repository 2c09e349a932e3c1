"""The strategy `around`: a short story that matters, with anything at all going on between its steps.

Some faults show only in a certain order of a few steps, such as "both write what they shared, then one exits, then the
other writes again". Random programs meet such an order rarely. A *story* is such an order, as a program text; `around`
moves it to a drawn place of the address space and draws other operations between its steps, by its processes and by others.
What would spoil the story is left out: nobody ends, execs, reaps or remaps in its place. Now and then a step of the story
is left out too, which is what the shrinker likes best: what remains is the part of the story that it takes.

And now and then a story takes a *twist*: one operation that it does not have is done to its own pages. What it was to tell
may have to hold all the same (memory that is to be wiped in children is, though its protection was changed in between), or
no longer does; the model knows which. So every story is told with every operation in its middle, and nobody writes them.
In the same way what a story maps may be what is left of a larger mapping: kernels keep other offsets for those. And what
it maps as private anonymous memory may be of another kind: pages of a file, shared or not, a stack, or pages of the image,
for which nothing is mapped. Kernels have a path of their own for each, and a fault may lie in one of them alone.
It may be about wider ranges than it says (`strategies.stretch`): what goes wrong may do so behind the first page alone.
And who tells it may be a child: its tables, its counts and what exec finds in the page cache are then what a fork has made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from harness.program.files import FILES, SHM
from harness.program.ops import (
    ENDING,
    FORKS,
    OF_OTHERS,
    SHARERS,
    WAITS,
    Advise,
    Backing,
    Clone,
    Crowd,
    Disperse,
    Exec,
    Exit,
    Fill,
    Force,
    Fork,
    Handover,
    Kill,
    Load,
    Map,
    Observe,
    Op,
    Opened,
    Pin,
    Placement,
    Poke,
    Populate,
    Print,
    Protect,
    Read,
    Reap,
    Receive,
    Remap,
    Repeat,
    Sharing,
    Store,
    Threads,
    Unmap,
    Unpin,
    Vfork,
    Wait,
    Write,
)  # fmt: skip
from harness.program.program import Program, places
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME, Address, PageRange, Prot
from strategies.echo import emit
from strategies.fields import WHERE, WISHES, Row, Wish, spread
from strategies.making import MAKINGS, MOST_MADE, Making, backing_from, made, may_be_made
from strategies.ops import ROWS, Raw
from strategies.scene import Limits, Scene, Space
from strategies.stretch import pages_of, reach, stretched, with_places

PLACES = (Address("a", 0), Address("a", 1), Address("b", 3), Address("c", 7), Address("d", 0), Address("e", 5))
"""Where page a[0] of a story may lie: at the start of a page table, within, across two, under other directories."""

NOISE: dict[type[Op], int] = {Store: 8, Load: 8, Fill: 2, Print: 2, Map: 2, Fork: 3, Exit: 3, Observe: 2, Wait: 1}
"""The operations that go on between the steps of a story, and how often."""

MOST_NOISE = 4
"""The most operations between two steps of a story."""

ONE_IN = 32
"""One step of a story in so many is left out."""

TWISTS: dict[type[Op], int] = {
    Protect: 4, Remap: 3, Advise: 3, Unmap: 2, Map: 2, Receive: 2, Force: 2, Pin: 1, Unpin: 1, Fork: 2, Vfork: 1, Clone: 1,
    Read: 1, Write: 1, Store: 1, Load: 1,
}  # fmt: skip
"""The operations that a story's own pages may meet without its telling so, and how often."""

TWIST_IN = 12
"""At one gap of a story in so many it takes a twist."""

NEIGHBOUR_IN = 12
"""At one gap of a story in so many something is mapped right beside what it maps, like it, or what was cut off is made like
it again: kernels join neighbours, and what is special about one must not become the other's, nor be lost.
"""

Unlike = Opened | Sharing | str | int | None
"""In what a neighbour is another mapping: how its file was opened, whose its stores are, which file or page it is of."""

UNLIKE: tuple[Unlike, ...] = (*(None,) * 5, Opened.READ, Opened.BOTH, *Sharing, "f", "g", 0, 3)
"""What neighbours are like; mostly all as what the story maps."""

SIDES = (1, 1, -1)
"""On which side of what the story maps a neighbour is: behind it, or in front of it."""

Origin = type[Op] | Making | None
"""How a mapping of a story comes to be: as it is; as the upper part of a larger one, by this operation; or put together."""

MADE: tuple[Origin, ...] = (*(None,) * 90, *(Unmap, Protect) * 15, *MAKINGS)
"""How mappings come to be, and how often."""

Kind = tuple[Sharing, Backing] | Address
"""What memory a story is about: how it is mapped, or where it lies in the image."""

KINDS: tuple[Kind | None, ...] = (
    *(None,) * 26,
    *((Sharing.PRIVATE, Backing("f", 1)), (Sharing.PRIVATE, Backing("f")), (Sharing.PRIVATE, Backing("m", 1))),
    *((Sharing.SHARED, Backing.ANON), (Sharing.SHARED, Backing("f", 1)), (Sharing.SHARED, Backing("m"))),
    (Sharing.SHARED, Backing("shm")),
    *((Sharing.PRIVATE, Backing("stack")), Address("data", 0), Address("bss", 0)),
    *(Address("w", 0), Address("w", 256), Address("w", 511)),
)
"""What a story's private anonymous memory may be instead, all of it; mostly it is what the story says. In window w it is
stretched over watched pages of blocks of 2 MiB, which are mapped whole: huge pages, where the kernel has them.
"""

TELLERS = (False, False, False, True)
"""Whether who is p0 in a story is a child of p0 in the program."""

STRETCHES = (*(1,) * 8, 2, 2, 2, 3)
"""How many pages a page of a story becomes."""

_ANON = (Sharing.PRIVATE, Backing.ANON)
_ORIGIN = st.sampled_from(MADE)
_NOISE_ROWS = tuple(row for row in ROWS for _ in range(NOISE.get(row.op, 0)))
_TWIST_ROWS = tuple(row for row in ROWS for _ in range(TWISTS.get(row.op, 0)))
_HOTTEST = spread((2, WISHES.index(Wish(0))), (1, WISHES.index(Wish(1))), (1, WISHES.index(Wish(2))))
"""Where a twist happens: pages 0 to 2 of the story, since its window is the origin of its scene."""


class Telling:
    """A story being told: its steps go into a scene, its processes get the names that the scene has free."""

    def __init__(
        self, story: Program, place: Address, limits: Limits, kind: Kind | None = None, *, by_child: bool = False
    ) -> None:
        self.story = story
        pages = reach(story)
        if isinstance(kind, Address) and len(_pages_at(kind)) < pages:
            kind = None
        place = replace(place, index=min(place.index, WINDOW_BY_NAME[place.window].npages - pages))
        self.place = kind if isinstance(kind, Address) else place
        self.there = _pages_at(self.place)
        self.kind = kind
        self.is_wide = bool(WINDOW_BY_NAME[self.place.window].watched)
        self.scene = Scene(limits, Space(limits.windows, self.place if self.is_wide else place))
        self.names = {0: 0}
        self.mapped: list[Map] = []
        if by_child and len(story) < limits.max_steps and story.processes < limits.max_processes:
            self.names[0] = self.scene.add_child(0, 1)
            self.scene.emit(Fork(0, self.names[0]))
        ranges = [each for op in story.steps for each in places(self._moved(op)) if isinstance(each, PageRange)]
        self.pages = {page for each in ranges for page in pages_of(each)}

    def tell(self, op: Op, origin: Origin = None) -> None:
        """Do the next step of the story, unless steps that were left out have made it impossible.

        What it maps comes to be as `origin` says, where that can be.
        """
        if not self._is_possible(op):
            return
        moved = self._moved(op)
        if isinstance(moved, Map) and (moved.sharing, moved.backing) == _ANON:
            if isinstance(self.kind, Address) and not self.is_wide:
                return  # it is there since exec
            moved = self._of_kind(moved)
        if isinstance(op, FORKS):
            parent, shares = self.names[op.process], isinstance(op, SHARERS)
            self.names[op.child] = self.scene.add_child(parent, len(self.names), shares=shares)
            moved = replace(op, process=parent, child=self.names[op.child])
        elif isinstance(moved, WAITS):
            moved = replace(moved, process=self.names[moved.process], child=self.names[moved.child])
        elif isinstance(moved, OF_OTHERS):
            moved = replace(moved, process=self.names[moved.process], victim=self.names[moved.victim])
        elif not isinstance(op, Observe):
            moved = replace(moved, process=self.names[op.process])
        if isinstance(moved, Map):
            self.mapped.append(moved)
        if isinstance(moved, Map) and origin and not WINDOW_BY_NAME[moved.pages.window].watched:
            self._make(moved, origin)
            return
        if isinstance(moved, Map):
            self._note_mapped(moved)
        elif isinstance(moved, Exec):
            self.scene.layouts[moved.process] = self.scene.space.image(moved.image)
        self.scene.emit(moved)

    def _of_kind(self, op: Map) -> Map:
        """Give what is mapped instead of private anonymous memory; in a wide window at first all of it."""
        if self.is_wide and not self.mapped:
            return replace(op, pages=PageRange(self.place.window, 0, WINDOW_BY_NAME[self.place.window].npages))
        if self.kind is None or isinstance(self.kind, Address):
            return op
        is_plain = (op.placement, op.populate) == (Placement.FIXED, Populate.NO)
        if self.kind[1].name == SHM and not is_plain:
            return op  # a segment is attached, and no more can be asked for
        return replace(op, sharing=self.kind[0], backing=self.kind[1])

    def _note_mapped(self, op: Map) -> None:
        ranks = self.scene.space.ranks(op.pages)
        self.scene.layouts[op.process].update(dict.fromkeys(ranks, op.prot))
        self.scene.used.update(ranks)

    def add_neighbour(self, unlike: Unlike = None, side: int = 1) -> None:
        """Map a page right behind what the story mapped last, or in front of it, as that is, but for what it is to be
        `unlike` in, where that can be; or give the page that was cut off below its protection back.
        """
        if not self.mapped or self.mapped[-1].process not in self.scene.family.active:
            return
        last = self.mapped[-1]
        window, end = last.pages.window, last.pages.first + last.pages.npages
        layout = self.scene.layouts[last.process]
        below = self.scene.space.rank_of.get((window, last.pages.first - 1))
        if below is not None and layout.get(below) is Prot.NONE and (window, last.pages.first - 1) not in self.pages:
            layout[below] = last.prot
            self.scene.emit(Protect(last.process, PageRange(window, last.pages.first - 1, 1), last.prot))
            return
        index = end if side > 0 else last.pages.first - 1
        if index in WINDOW_BY_NAME[window].indexes and (window, index) not in self.pages:
            beside = replace(last, pages=PageRange(window, index, 1), backing=backing_from(last, index))
            more = _made_unlike(beside, unlike)
            self._note_mapped(more)
            self.scene.emit(more)

    def _has_page_below(self, op: Map) -> bool:
        below = (op.pages.window, op.pages.first - 1)
        is_known = op.backing == Backing.ANON or op.backing.pgoff > 0
        is_whole = op.placement is Placement.FIXED and is_known
        return is_whole and op.pages.first > 0 and below not in self.pages

    def _make(self, op: Map, origin: type[Op] | Making) -> None:
        """Map what `op` maps, in more than one step where that can be."""
        if isinstance(origin, Making):
            steps = tuple(made(op, origin)) if may_be_made(op) and op.backing.name != SHM else (op,)
        elif self._has_page_below(op):
            self._map_and_cut(op, origin)
            return
        else:
            steps = (op,)
        self._note_mapped(op)
        for step in steps:
            self.scene.emit(step)

    def _map_and_cut(self, op: Map, cut: type[Op]) -> None:
        """Map one page more, below, and cut it off: what the story maps is then a part of a mapping that was split."""
        window, first, npages = op.pages.window, op.pages.first, op.pages.npages
        below = PageRange(window, first - 1, 1)
        pages = replace(op.pages, first=first - 1, npages=npages + 1)
        whole = replace(op, pages=pages, backing=backing_from(op, pages.first))
        self._note_mapped(whole)
        self.scene.emit(whole)
        rank = self.scene.space.ranks(below)[0]
        if cut is Unmap:
            self.scene.layouts[op.process].pop(rank, None)
            self.scene.emit(Unmap(op.process, below))
        else:
            self.scene.layouts[op.process][rank] = Prot.NONE
            self.scene.emit(Protect(op.process, below, Prot.NONE))

    def _is_possible(self, op: Op) -> bool:
        family = self.scene.family
        actor = self.names.get(op.process)
        if isinstance(op, WAITS):
            return actor in family.active and self._may_wait(op)
        if isinstance(op, Kill):
            victims = [*family.gone(), *(family.victims(actor) if actor in family.active else ())]
            return actor in family.active and self.names.get(op.victim) in victims
        if isinstance(op, Poke):
            return actor in family.active and actor is not None and self.names.get(op.victim) in family.pokable(actor)
        if actor in family.crowds and isinstance(op, (Crowd, Exec, *ENDING)):
            return False
        if isinstance(op, Threads) and actor in family.threaded:
            return False
        if isinstance(op, Remap) and isinstance(self.kind, Address) and not op.in_place:
            return False  # pages of the image stay where they are, and what is stretched is of another length elsewhere
        if isinstance(op, Handover) and actor is not None and not family.may_hand_over(actor):
            return False
        if isinstance(op, Disperse):
            return actor in family.crowds and actor in family.active
        return isinstance(op, Observe) or actor in family.active

    def _may_wait(self, op: Wait | Reap) -> bool:
        process = self.names[op.process]
        child = self.names.get(op.child)
        return child in self.scene.family.waitable(process) + self.scene.family.reaped(process)

    def disturb(self, raw: Raw, *, twist: bool = False) -> None:
        """Let something else happen, unless it would spoil the story; a `twist` may happen to its pages."""
        steps, layouts = len(self.scene.steps), self.scene.copied_layouts()
        slots, used = dict(self.scene.slot_of), set(self.scene.used)
        op = raw.resolve(self.scene)
        if op is not None and not self._spoils(op, twist=twist) and steps < self.scene.limits.max_steps:
            emit(self.scene, op, raw.echo, has_room=twist and steps + raw.echo.steps < self.scene.limits.max_steps)
            return
        self.scene.layouts, self.scene.slot_of, self.scene.used = layouts, slots, used

    def _spoils(self, op: Op, *, twist: bool) -> bool:
        ours = set(self.names.values())
        if isinstance(op, (*ENDING, Exec)) and op.process in ours:
            return True
        if isinstance(op, WAITS):
            return op.child in ours
        if isinstance(op, Kill):
            return op.victim in ours
        return not twist and any(page in self.pages for each in places(op) for page in pages_of(each))

    def _moved(self, op: Op) -> Op:
        """Move the places of window a to where this telling happens."""
        return with_places(op, self._there)

    def _there(self, place: Address | PageRange) -> Address | PageRange:
        if isinstance(place, Address):
            return Address(self.place.window, self.there[place.index], place.offset)
        first, last = self.there[place.first], self.there[place.first + place.npages - 1]
        return PageRange(self.place.window, first, last + 1 - first, place.short)


def _pages_at(place: Address) -> Sequence[int]:
    """Give the pages of a window, by index, in which page a[0] of a story and those behind it may lie."""
    return [index for index in WINDOW_BY_NAME[place.window].indexes if index >= place.index]


def _made_unlike(op: Map, what: Unlike) -> Map:
    """Give a mapping that is unlike `op` in one thing, where there is one that is."""
    if what is None or op.backing.name not in FILES:
        return op
    if isinstance(what, Sharing):
        return replace(op, sharing=what, backing=replace(op.backing, opened=Opened.BOTH))
    if isinstance(what, int):
        return replace(op, backing=replace(op.backing, pgoff=what))
    if FILES[op.backing.name].is_memfd:
        return op
    return replace(
        op, backing=replace(op.backing, opened=what) if isinstance(what, Opened) else replace(op.backing, name=what)
    )


@st.composite
def _raws(draw: st.DrawFn) -> Raw:
    row: Row = draw(st.sampled_from(_NOISE_ROWS))
    return Raw(row, tuple(draw(st.integers(each.least, each.most)) for each in row.fields))


@st.composite
def _twists(draw: st.DrawFn) -> Raw:
    row: Row = draw(st.sampled_from(_TWIST_ROWS))
    return Raw(row, tuple(draw(st.sampled_from(_HOTTEST) if each is WHERE else each.drawn) for each in row.fields))


@st.composite
def _around(draw: st.DrawFn, stories: Sequence[Program], limits: Limits, twists: bool) -> Program:
    story = stretched(draw(st.sampled_from(stories)), draw(st.sampled_from(STRETCHES)) if twists else 1)
    kind = draw(st.sampled_from(KINDS)) if twists else None
    by_child = draw(st.sampled_from(TELLERS)) if twists else False
    telling = Telling(story, draw(st.sampled_from(PLACES)), limits, kind, by_child=by_child)
    body = 0  # the steps that are being repeated: they stand together, or not at all
    for op in story.steps:
        body -= 1
        if body < 0 and draw(st.integers(0, ONE_IN - 1)) == 0:
            continue
        steps = len(telling.scene.steps)
        room = limits.max_steps - len(telling.scene.steps) - len(story)
        telling.tell(op, draw(_ORIGIN) if twists and body < 1 and isinstance(op, Map) and room >= MOST_MADE else None)
        if isinstance(op, Repeat) and len(telling.scene.steps) > steps:
            body = op.body + 1
        if body > 1:
            continue
        room = limits.max_steps - len(telling.scene.steps) - len(story)
        if twists and room > 0 and telling.scene.family.live and draw(st.integers(0, TWIST_IN - 1)) == TWIST_IN - 1:
            telling.disturb(draw(_twists()), twist=True)
        room = limits.max_steps - len(telling.scene.steps) - len(story)
        if twists and room > 0 and draw(st.integers(0, NEIGHBOUR_IN - 1)) == NEIGHBOUR_IN - 1:
            telling.add_neighbour(draw(st.sampled_from(UNLIKE)), draw(st.sampled_from(SIDES)))
        if room > 0 and telling.scene.family.live and draw(st.integers(0, 3)) == 3:
            for raw in draw(st.lists(_raws(), max_size=min(MOST_NOISE, room))):
                telling.disturb(raw)
    return Program(tuple(telling.scene.steps))


def around(
    *texts: str, max_steps: int = 30, max_processes: int = 6, max_pages: int = 16, twists: bool = True
) -> st.SearchStrategy[Program]:
    """Give a strategy for programs that tell one of the stories `texts` (each in .prog form, places in window a).

    Without `twists` nothing but the story happens to its pages. Raises ProgramError where a text is no program.
    """
    stories = [parse_program(text) for text in texts]
    limits = Limits(max_steps=max(max_steps, *map(len, stories)), max_processes=max_processes, max_pages=max_pages)
    return _around(stories, limits, twists)
