"""The strategy `tours`: programs that visit situations one after the other, each of which is asked for by its name.

A situation is a cell of the coverage table (`harness.coverage.situation`): a kind of memory, what has become of a page of
it, what is done to that page, and by whom. Drawn programs meet the rare ones, such as a memfd that was moved and is then
advised by a grandchild, once in a hundred thousand. A tour makes such a page, brings it into the state, and does it::

    memory      brought in by         state               by way of
    anon …      map                   resident            the touch alone
    brk         brk                   formerly shared     a child that loads it too, and exits
    text, data  exec                  shared by 2, 3+     one or two children that load it, and stay till after
                                      moved               a page of the arena, moved to its place
                                      protected away      protect, to none

Each situation that there is has a tour, which a test checks; a cell that no page can be in is in `IMPOSSIBLE`, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from harness.coverage.situation import Action, Memory, Role, State, is_possible
from harness.program.program import MAX_PROCESSES, Program
from harness.program.text import parse_program

MOST_VISITS = 4
"""The most situations in one tour."""

PASSES = 3
"""How often a grand tour visits each: one visit in a hundred meets another situation, by what the one before has left."""

MOST_HELPERS = 4
"""The most processes that one visit makes."""

ARENA = ("a[0]", "a[15]", "b[3]", "c[7]", "c[8]", "d[0]", "e[5]")
"""Where the page of a visit may lie: at the ends of windows, on both sides of the line between two page tables."""

ASIDE = ("a[8]", "b[8]", "e[9]")
"""Where a page is before it is moved to its place, and where it is moved to from there."""

MAPPED = {
    Memory.ANON: ("private anon",),
    Memory.ZERO: ("private anon",),
    Memory.SHARED_ANON: ("shared anon", "shared shm"),
    Memory.PRIVATE_FILE: ("private f", "private g+1"),
    Memory.SHARED_FILE: ("shared f", "shared g+1"),
    Memory.MEMFD: ("shared m", "private m", "shared m+2"),
    Memory.STACK: ("private stack",),
}
"""What each kind of memory in the arena is mapped as."""

IMAGE = {Memory.TEXT: 2, Memory.DATA: 4}
"""The kinds of the image, and how many pages each has."""

ADVICE = ("dontneed", "free", "dontfork", "wipeonfork", "populate-read", "populate-write", "pageout", "cold")
PROTECTIONS = ("r", "rw", "none", "rx")

Draw = Callable[[tuple[str, ...]], str]
"""Draws one of some words."""


@dataclass(slots=True)
class Tour:
    """A tour being written. The one who visits is the first process, its child, or that one's child."""

    draw: Draw
    role: Role
    lines: list[str] = field(default_factory=list)
    actor: int = 0
    processes: int = 1
    visits: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        """Let who visits come to be."""
        for _ in range((Role.PARENT, Role.CHILD, Role.GRANDCHILD).index(self.role)):
            self.fork(by=self.processes - 1)
        self.actor = self.processes - 1

    @property
    def has_room(self) -> bool:
        """Whether one more visit has names enough for the processes that it may take."""
        return not self.ended and self.processes + MOST_HELPERS <= MAX_PROCESSES

    @property
    def program(self) -> Program:
        """What was written."""
        return parse_program("\n".join(self.lines))

    def do(self, step: str, *, by: int | None = None) -> None:
        """Write a step."""
        self.lines.append(f"p{self.actor if by is None else by}: {step}")

    def fork(self, *, by: int) -> int:
        """Write a fork; give the child."""
        child, self.processes = self.processes, self.processes + 1
        self.do(f"fork p{child}", by=by)
        return child

    def visit(self, memory: Memory, state: State, action: Action) -> None:
        """Write how a page gets into a state, what is done to it there, and what makes room for the next visit."""
        page = self._place(memory)
        self._bring(memory, state, page)
        helpers = self._share(memory, state, page)
        self._act(memory, action, page)
        for helper in helpers:
            self.do("exit 0", by=helper)
        if not self.ended:
            self._leave(memory, page, action)
        self.visits += 1

    def _place(self, memory: Memory) -> str:
        if memory in IMAGE:
            return f"{'text' if memory is Memory.TEXT else 'data'}[{self.visits % IMAGE[memory]}]"
        return f"heap[{self.visits}]" if memory is Memory.BRK else self.draw(ARENA)

    def _bring(self, memory: Memory, state: State, page: str) -> None:
        moved = state is State.MOVED
        at = self.draw(ASIDE) if moved else page
        if memory is Memory.BRK and not moved:
            self.do(f"brk heap[{self.visits + 1}]")
        elif memory not in IMAGE:
            self.do(f"map {at} rw {self.draw(MAPPED.get(memory, ('private anon',)))}")
        if state is not State.FRESH:
            self._touch(memory, at)
        if moved:
            self.do(f"remap {at} {page}")
        if state is State.PROTECTED:
            self.do(f"protect {page} none")

    def _touch(self, memory: Memory, page: str) -> None:
        reads = memory in (Memory.ZERO, Memory.TEXT)
        either = memory in (Memory.PRIVATE_FILE, Memory.SHARED_FILE)
        what = "load" if reads else self.draw(("store", "load")) if either else "store"
        self.do(f"load {page}" if what == "load" else f"store {page} 0x11")

    def _share(self, memory: Memory, state: State, page: str) -> list[int]:
        """Let others have the page too; give those who do till after the visit."""
        sharers = {State.FORMERLY_SHARED: 1, State.SHARED_2: 1, State.SHARED_3: 2}.get(state, 0)
        if memory is Memory.ZERO and state is State.SHARED_3:
            sharers = 3
        helpers = [self.fork(by=self.actor) for _ in range(sharers)]
        for helper in helpers:
            self.do(f"load {page}", by=helper)
        if state is not State.FORMERLY_SHARED:
            return helpers
        self.do("exit 0", by=helpers[0])
        self.do(f"wait p{helpers[0]}")
        return []

    def _act(self, memory: Memory, action: Action, page: str) -> None:
        if action is Action.FORK:
            self.do("exit 0", by=self.fork(by=self.actor))
        elif action is Action.EXIT:
            self.do("exit 7")
            self.ended = True
        else:
            self.do(self._step(memory, action, page))

    def _step(self, memory: Memory, action: Action, page: str) -> str:
        words = {
            Action.STORE: (f"store {page} 0x22", f"fill {page} 0x22"),
            Action.LOAD: (f"load {page}", f"print {page} 8"),
            Action.KERNEL_WRITE: (f"receive pipe {page}+3 13 0x33", f"ask cwd {page}+1", f"read g 100 {page} 7"),
            Action.EXEC: ("exec",),
            Action.MUNMAP: (f"unmap {page}",),
            Action.MPROTECT: tuple(f"protect {page} {prot}" for prot in PROTECTIONS),
            Action.MREMAP: (f"remap {page} {page}",) if memory in IMAGE else (f"remap {page} d[9]",),
            Action.MADVISE: tuple(f"advise {page} {advice}" for advice in ADVICE),
        }
        return self.draw(words[action])

    def _leave(self, memory: Memory, page: str, action: Action) -> None:
        """Let go of the page, so that the next visit meets nothing of this one; of image and heap it has another page."""
        if action is Action.MREMAP and memory not in IMAGE:
            self.do("unmap d[9]")
        if memory not in IMAGE:
            self.do(f"unmap {page}")


PLACES = tuple((memory, state) for memory in Memory for state in State if is_possible(memory, state))


@st.composite
def tours(draw: st.DrawFn) -> Program:
    """Give a strategy for tours of one situation, or mostly `MOST_VISITS`, by one process, in any order."""
    tour = Tour(lambda words: draw(st.sampled_from(words)), draw(st.sampled_from(tuple(Role))))
    for _ in range(draw(st.sampled_from((1, *(MOST_VISITS,) * 3)))):
        if tour.has_room:
            tour.visit(*draw(st.sampled_from(PLACES)), draw(st.sampled_from(tuple(Action))))
    return tour.program


def grand_tour(seed: str) -> Iterator[Program]:
    """Give programs that visit every situation there is, `PASSES` times, in an order that depends on `seed`."""
    random = Random(seed)
    for role in (*Role,) * PASSES:
        visits = [(memory, state, action) for memory, state in PLACES for action in Action]
        random.shuffle(visits)
        while visits:
            tour = Tour(random.choice, role)
            while visits and tour.has_room and tour.visits < MOST_VISITS:
                tour.visit(*visits.pop())
            yield tour.program
