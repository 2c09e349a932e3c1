"""A program: a finite, frozen, well-formed list of operations.

Well formed means that any kernel can be asked to run it, whatever it does: every process acts only
while it lives, every name is given once, a parent waits only for a child of its own that has ended.
Whether an access is allowed or a call fails is no question of form; that is what the model answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields

from harness.errors import ProgramError
from harness.program.files import BACKINGS, FILES, MAX_FILE_PAGES, MAX_FILE_SIZE, SHM
from harness.program.image import FILE_BACKED, IMAGES, OWN
from harness.program.ops import (
    ANSWERS,
    ENDING,
    FORKS,
    MAX_CROWD,
    OPS,
    STATUS_WORD,
    WAITS,
    Advise,
    Ask,
    Brk,
    Copyrange,
    Crowd,
    Deliver,
    Disperse,
    Exec,
    Feed,
    Fill,
    Fix,
    Force,
    Handover,
    Kill,
    Limit,
    Load,
    Map,
    Mirror,
    Observe,
    Op,
    Opened,
    Pin,
    Placement,
    Poke,
    Populate,
    Print,
    Protect,
    Punch,
    Read,
    Readv,
    Reap,
    Receive,
    Refuse,
    Remap,
    Repeat,
    Roam,
    Scratch,
    Sendfile,
    Sharing,
    Splice,
    Starve,
    Store,
    Sync,
    Threads,
    Throng,
    Truncate,
    Try,
    Unfix,
    Unlink,
    Unmap,
    Unpin,
    Vfork,
    Write,
    ended_by,
)
from harness.program.units import HEAP, PAGE_SIZE, WINDOW_BY_NAME, Address, PageRange

_OF_FILES = (Read, Readv, Write, Sendfile, Splice, Truncate, Punch, Unlink)
"""The operations that name a file, as `file`."""

BELOW_HEAP = Address("data", 0)
"""A page below every program break, whatever the image and the kernel: the data of the image's file is there."""

MAX_PROCESSES = 16
"""Processes that one program may name in its life, p0 included: the agent has as many slots."""


@dataclass(frozen=True, slots=True)
class Program:
    """The steps, in the order in which they happen. Raises ProgramError unless well formed."""

    steps: tuple[Op, ...]
    title: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check the form once, so that nobody else has to."""
        family = Family()
        for number, op in enumerate(self.steps):
            try:
                check_operands(op)
                family.apply(op)
            except ProgramError as error:
                raise ProgramError(f"step {number + 1} ({op.verb}): {error.reason}") from None
        check_repeats(self.steps)

    def __len__(self) -> int:
        """Give the number of steps."""
        return len(self.steps)

    @property
    def processes(self) -> int:
        """How many processes the program names in all, p0 included."""
        return 1 + sum(isinstance(op, FORKS) for op in self.steps)

    @property
    def rounds(self) -> int:
        """How often the program does the steps that it does most often."""
        return max((op.rounds for op in self.steps if isinstance(op, Repeat)), default=1)

    @property
    def forks(self) -> int:
        """How often the program makes a process, with p0, idle children and every round of its repetitions."""
        total, rounds, ends = 1, 1, -1
        for number, op in enumerate(self.steps):
            rounds = rounds if number < ends else 1
            if isinstance(op, Repeat):
                rounds, ends = op.rounds, number + 1 + op.body
            total += rounds * (op.count if isinstance(op, Crowd) else isinstance(op, (*FORKS, Starve)))
        return total

    @property
    def visits(self) -> int:
        """From how many pages idle children load, each child's counted: what takes a program longest."""
        return sum(op.count * op.pages.npages for op in self.steps if isinstance(op, Throng))

    @property
    def windows(self) -> tuple[str, ...]:
        """The names of the windows that the program touches, or in which its images differ, in address-table order."""
        used = {operand.window for op in self.steps for operand in (*places(op), *brought(op))}
        return tuple(name for name in WINDOW_BY_NAME if name in used)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that the program maps, reads, writes or changes, in the order of `FILES`."""
        used = {op.backing.name for op in self.steps if isinstance(op, Map)}
        used.update(op.file for op in self.steps if isinstance(op, _OF_FILES))
        used.update(op.into for op in self.steps if isinstance(op, Sendfile))
        return tuple(name for name in FILES if name in used)

    @property
    def opened(self) -> frozenset[tuple[str, Opened]]:
        """The descriptors that the program maps: of which file, and how it is opened."""
        backings = [op.backing for op in self.steps if isinstance(op, Map)]
        return frozenset((backing.name, backing.opened) for backing in backings if backing.name in FILES)


@dataclass(slots=True)
class Family:
    """Who lives, who is whose child, and who waits to be reaped, as the steps of a program say.

    A fork may fail on the guest; for the form it counts as done, and the runner ends the program there.
    """

    parent: dict[int, int | None] = field(default_factory=lambda: {0: None})
    live: set[int] = field(default_factory=lambda: {0})
    zombies: set[int] = field(default_factory=set)
    waited: set[int] = field(default_factory=set)
    """Those who were waited for. Their parents may ask for them again, in vain."""
    suspended: dict[int, int] = field(default_factory=dict)
    """Those who did vfork and wait, and the child for which each waits."""

    crowds: dict[int, int] = field(default_factory=dict)
    """How many idle children those have who did crowd, up to their disperse. Till then they neither end nor exec."""

    handed: set[int] = field(default_factory=set)
    """Those whose steps another thread does than the first, which they hand over to once in an image."""

    threaded: set[int] = field(default_factory=set)
    """Those who have made threads, which they do once in an image."""

    @property
    def active(self) -> set[int]:
        """The processes that can do a step: they live, and wait for no child of a vfork."""
        return self.live - self.suspended.keys()

    def apply(self, op: Op) -> None:
        """Follow one step. Raises ProgramError where it is not well formed."""
        if isinstance(op, Observe):
            return
        if op.process not in self.live:
            raise ProgramError(f"process p{op.process} does not live here")
        if op.process in self.suspended:
            raise ProgramError(f"p{op.process} waits until p{self.suspended[op.process]} execs or ends")
        if isinstance(op, (Crowd, Disperse, Exec, *ENDING)):
            self._crowd(op)
        if isinstance(op, (Threads, Handover, Exec)):
            self._thread(op)
        if isinstance(op, FORKS):
            self._fork(op.process, op.child)
            if isinstance(op, Vfork):
                self.suspended[op.process] = op.child
        elif isinstance(op, WAITS):
            if op.child not in self.waitable(op.process) + self.reaped(op.process):
                raise ProgramError(f"p{op.child} is no ended child of p{op.process}")
            self.zombies.discard(op.child)
            self.waited.add(op.child)
        elif (ended := ended_by(op)) is not None:
            self._end(op, ended)
        elif isinstance(op, Poke) and op.victim not in self.pokable(op.process):
            raise ProgramError(
                f"p{op.victim} is nobody whose memory p{op.process} may write to: it is to sleep till its turn"
            )
        if isinstance(op, Exec):
            self._let_go(op.process)

    def _thread(self, op: Op) -> None:
        if isinstance(op, Exec):
            self.threaded.discard(op.process)
            self.handed.discard(op.process)
        elif isinstance(op, Handover):
            if not self.may_hand_over(op.process):
                raise ProgramError(f"p{op.process} has handed over already, or a vfork waits for the thread that leaves")
            self.handed.add(op.process)
        elif op.process in self.threaded:
            raise ProgramError(f"p{op.process} has threads already, and makes no more till it execs")
        else:
            self.threaded.add(op.process)

    def may_hand_over(self, process: int) -> bool:
        """Tell whether another thread may take over: once in an image, and not where a vfork waits for this very thread."""
        return process not in self.handed and process not in self.suspended.values()

    def _crowd(self, op: Op) -> None:
        has = op.process in self.crowds
        if isinstance(op, Disperse):
            if not has:
                raise ProgramError(f"p{op.process} has no idle children")
            del self.crowds[op.process]
        elif has:
            raise ProgramError(f"p{op.process} has idle children: it has to disperse them first")
        elif isinstance(op, Crowd):
            self.crowds[op.process] = op.count
            if sum(self.crowds.values()) > MAX_CROWD:
                raise ProgramError(f"there are at most {MAX_CROWD} idle children at a time")

    def victims(self, process: int) -> list[int]:
        """List whom `process` may kill: who sleeps until its turn, and has no idle children, who would be left."""
        return sorted(self.active - self.crowds.keys() - {process})

    def pokable(self, process: int) -> list[int]:
        """List into whose memory `process` may write: who sleeps until its turn, and is there by its number, as one whose
        first thread has exited may not be.
        """
        return [victim for victim in self.victims(process) if victim not in self.handed]

    def gone(self) -> list[int]:
        """List whom anybody may kill in vain: the ended children of those who live, and who was waited for.

        Of the others init decides when nothing is left of them. A number that nobody has any more may be an idle child's.
        """
        zombies = {child for child in self.zombies if self.parent[child] in self.live}
        return sorted(zombies if self.crowds else zombies | self.waited)

    def _end(self, op: Op, ended: int) -> None:
        if isinstance(op, Kill) and ended not in (*self.victims(op.process), *self.gone()):
            raise ProgramError(
                f"p{ended} is nobody whom p{op.process} may kill: it is to sleep till its turn, or to be gone"
            )
        if ended in self.live:
            self.live.discard(ended)
            self.zombies.add(ended)
            self._let_go(ended)

    def _let_go(self, child: int) -> None:
        """Wake the process that did vfork and waits for `child`, if there is one."""
        for parent in [each for each, waited in self.suspended.items() if waited == child]:
            del self.suspended[parent]

    def _fork(self, parent: int, child: int) -> None:
        if child in self.parent:
            raise ProgramError(f"the name p{child} is taken already")
        if not 0 <= child < MAX_PROCESSES:
            raise ProgramError(f"process names end at p{MAX_PROCESSES - 1}")
        self.parent[child] = parent
        self.live.add(child)

    def waitable(self, process: int) -> list[int]:
        """List the ended children of `process` that nobody has waited for."""
        return sorted(child for child in self.zombies if self.parent[child] == process)

    def reaped(self, process: int) -> list[int]:
        """List the children of `process` that it has waited for: there is nothing left of them to wait for."""
        return sorted(child for child in self.waited if self.parent[child] == process)


REPEATABLE = (
    *(Map, Mirror, Unmap, Protect, Remap, Advise, Brk, Load, Store, Fill, Receive, Force, Poke, Pin, Unpin, Splice, Feed),
    *(Fix, Deliver, Unfix, Read, Readv, Write, Sendfile, Copyrange, Truncate, Punch, Sync, Ask, Limit, Scratch, Try),
    *(Exec, Crowd, Disperse, Starve, Refuse, Kill, *WAITS, *FORKS, *ENDING),
)
"""What can be done again and again, and leaves nothing behind but memory, pins and the bytes of files: no output, as of all
rounds but the last nobody hears.
"""


def check_repeats(steps: tuple[Op, ...]) -> None:
    """Raise ProgramError where what is to be repeated is not there, or changes the family: it could be done but once."""
    family = Family()
    for number, op in enumerate(steps):
        if isinstance(op, Repeat):
            body = steps[number + 1 : number + 1 + op.body]
            before, after = _survivors(family, ()), _survivors(family, body)
            if len(body) < op.body or not all(isinstance(each, REPEATABLE) for each in body) or before != after:
                what = "that much follows, that says nothing to others, and that leaves the family as it was"
                raise ProgramError(f"step {number + 1} (repeat): it takes a body of which {what}")
        family.apply(op)


def _survivors(family: Family, steps: tuple[Op, ...]) -> tuple[object, ...]:
    """Give who lives, waits or was not reaped after these steps."""
    later = deepcopy(family)
    for op in steps:
        later.apply(op)
    return later.live, later.zombies, later.suspended, later.crowds


def places(op: Op) -> Iterator[Address | PageRange]:
    """Give the operands of `op` that lie in a window; an address from which on it reaches several pages as their range."""
    for value in _operands(op):
        if isinstance(value, Address) and value.offset + extent(op) > PAGE_SIZE:
            yield PageRange(value.window, value.index, (value.offset + extent(op) - 1) // PAGE_SIZE + 1)
        elif isinstance(value, Address | PageRange):
            yield value


_NAMES = {kind: [each.name for each in fields(kind)] for kind in OPS}


def _operands(op: Op) -> list[object]:
    return [getattr(op, name) for name in _NAMES[type(op)]]


def brought(op: Op) -> tuple[PageRange, ...]:
    """Give the pages in which it shows that `op` runs another image than the one that p0 begins in."""
    return IMAGES[op.image].windows if isinstance(op, Exec) and op.image != OWN else ()


def extent(op: Op) -> int:
    """Give the number of bytes that `op` reads or writes from its address on."""
    if isinstance(op, Ask):
        return max(1, len(ANSWERS[op.query]))
    if isinstance(op, Reap):
        return STATUS_WORD
    return int(getattr(op, "length", 1))


def check_operands(op: Op) -> None:
    """Raise ProgramError where an operand of `op` lies outside its window."""
    _check_form(op)
    _check_places(op)
    if isinstance(op, Map):
        _check_backing(op)
    if isinstance(op, Mirror) and op.backing.name not in FILES:
        raise ProgramError("mirror is of a page of a file: every mapping of no file is other memory")
    if isinstance(op, Mirror) and (op.placement, op.populate) != (Placement.FIXED, Populate.NO):
        raise ProgramError("mirror replaces what is there: it is of MAP_FIXED alone")
    if isinstance(op, Remap):
        _check_move(op)
    if isinstance(op, Read | Write) and op.offset + op.length > MAX_FILE_SIZE:
        raise ProgramError(f"a file ends at byte {MAX_FILE_SIZE} at the latest")
    if isinstance(op, Readv) and op.offset + 2 * op.length > MAX_FILE_SIZE:
        raise ProgramError(f"a file ends at byte {MAX_FILE_SIZE} at the latest")
    if isinstance(op, Sendfile) and max(op.offset, op.at) + op.length > MAX_FILE_SIZE:
        raise ProgramError(f"a file ends at byte {MAX_FILE_SIZE} at the latest")
    if isinstance(op, Splice) and op.offset >= MAX_FILE_SIZE:
        raise ProgramError(f"a file ends at byte {MAX_FILE_SIZE} at the latest")
    if isinstance(op, Unlink) and FILES[op.file].is_memfd:
        raise ProgramError(f"{op.file} is a memfd, which has no name to unlink")


def _check_places(op: Op) -> None:
    for place in places(op):
        window = WINDOW_BY_NAME.get(place.window)
        if window is None:
            raise ProgramError(f"there is no window {place.window!r}")
        first, npages = (place.first, place.npages) if isinstance(place, PageRange) else (place.index, 1)
        if first < 0 or npages < 1 or first + npages > window.npages:
            raise ProgramError(f"{place} is not inside window {window.name} of {window.npages} pages")
    for touched in (value for value in _operands(op) if isinstance(value, Address)):
        window = WINDOW_BY_NAME[touched.window]
        if touched.index not in window.indexes:
            watched = ", ".join(map(str, window.indexes))
            raise ProgramError(f"{touched} is not watched: of window {window.name} these pages are, {watched}")


def _check_form(op: Op) -> None:
    for value in _operands(op):
        if isinstance(value, Address) and not 0 <= value.offset < PAGE_SIZE:
            raise ProgramError(f"{value}: an offset is 0 to {PAGE_SIZE - 1}")
        if isinstance(value, PageRange):
            _check_length(op, value)
    if isinstance(op, Brk) and op.at.window != HEAP.name and op.at.page != BELOW_HEAP:
        raise ProgramError(f"the program break is in the window heap, or asked for below it, in {BELOW_HEAP}")
    if isinstance(op, Fill | Fix) and op.at.offset:
        raise ProgramError(f"{op.verb} takes a whole page, without an offset")
    if isinstance(op, Print) and op.at.offset + op.length > PAGE_SIZE:
        raise ProgramError("print stays within one page")


def _check_length(op: Op, pages: PageRange) -> None:
    is_empty = pages.short == PAGE_SIZE and pages.npages == 1
    if not 0 <= pages.short < PAGE_SIZE and not is_empty:
        raise ProgramError(f"{pages}: a length that is no whole number of pages has a byte of the last one")
    may_be_empty = isinstance(op, Protect | Advise | Sync) or (isinstance(op, Remap) and pages is op.pages)
    if is_empty and not may_be_empty:
        raise ProgramError(f"{pages}: {op.verb} takes no empty range; `try` is for lengths that are refused")
    if isinstance(op, Try) and pages.short:
        raise ProgramError(f"{pages}: try takes whole pages")


def _check_move(op: Remap) -> None:
    if op.pages.window in FILE_BACKED and not op.in_place:
        raise ProgramError(f"pages of {op.pages.window} stay where they are: what follows them in their file is unknown")
    if isinstance(op, Roam) and op.may_meet:
        raise ProgramError("roam is to a place that is none of its pages, nor would be one if they stayed where they are")


def _check_backing(op: Map) -> None:
    if op.backing.name not in BACKINGS:
        raise ProgramError(f"there is no file {op.backing.name!r}; known are: {', '.join(BACKINGS)}")
    if op.backing.name == SHM and (op.sharing, op.placement, op.populate) != (Sharing.SHARED, Placement.FIXED, Populate.NO):
        raise ProgramError("shm is attached and no more: it is shared, at a fixed place, and not populated")
    if not 0 <= op.backing.pgoff <= MAX_FILE_PAGES:
        raise ProgramError(f"a mapping begins at page 0 to {MAX_FILE_PAGES} of its file")
    if op.backing.opened is not Opened.BOTH and (op.backing.name not in FILES or FILES[op.backing.name].is_memfd):
        raise ProgramError(f"{op.backing.name} is no regular file, which alone can be opened to read or to write only")
