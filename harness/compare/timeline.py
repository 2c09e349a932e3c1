"""What happened to each page and frame, step by step: recorded only when a difference has to be explained.

The recording is made by running the comparison a second time, so that it holds the same choices of the guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.model.address_space import AddressSpace
from harness.model.counts import reference_index
from harness.model.fault import may_be_prefaulted
from harness.model.frame import Frame
from harness.model.machine import Machine
from harness.model.semantics import Semantics
from harness.model.vma import Vma
from harness.program.image import IMAGES, OWN, SEGMENT_OF, Image
from harness.program.ops import (
    FORKS,
    KERNEL_STORES,
    SHARERS,
    Advice,
    Advise,
    Brk,
    Deliver,
    Exec,
    Feed,
    Fill,
    Force,
    Fork,
    Handle,
    Map,
    Op,
    Pin,
    Poke,
    Protect,
    Remap,
    Splice,
    Store,
    Unmap,
    Unpin,
    ended_by,
    whose,
)
from harness.program.outcome import Done, Failed
from harness.program.program import Program, places
from harness.program.units import PAGE_SIZE, PageRange

Page = tuple[int, int]
"""A page of a process: (process number, virtual page number)."""


STORES = (Store, Fill, *KERNEL_STORES)
"""The operations that store, as the protection allows."""


def _stores(machine: Machine, op: Op, outcome: object) -> Iterator[tuple[int, int, bytes]]:
    """Give (page, offset, bytes) of what the step that was just done has stored."""
    yield from machine.stored
    if isinstance(op, Store) and outcome == Done():
        yield op.at.vpn, op.at.offset, bytes((op.value,))
    elif isinstance(op, Fill) and outcome == Done():
        yield op.at.vpn, 0, bytes((op.value,)) * PAGE_SIZE


def _pages(op: Op) -> set[int]:
    """Give the pages that the operands of `op` name."""
    return {vpn for place in places(op) for vpn in (place.vpns if isinstance(place, PageRange) else (place.vpn,))}


def _leaver(op: Op) -> int:
    """Give the process that may have left its address space by `op`."""
    ended = ended_by(op)
    return op.process if ended is None else ended


@dataclass(frozen=True, slots=True)
class Stored:
    """A store that was done, by a process or by the kernel for it: which step, for whom, where, and what it wrote."""

    step: int
    op: Op
    vpn: int
    offset: int
    data: bytes

    @property
    def process(self) -> int:
        """The process that stored, or in whose memory the kernel did."""
        return whose(self.op)

    @property
    def end(self) -> int:
        """The offset of the byte behind the last one stored."""
        return self.offset + len(self.data)

    def explains(self, offset: int | None, value: int | None) -> bool:
        """Tell whether it put `value` at `offset`; None for whatever it did put, anywhere."""
        if offset is None:
            return True
        if isinstance(self.op, Handle):  # before the handler's zeroes the kernel stored what nobody knows
            return True
        inside = self.offset <= offset < self.end
        return inside and value in (None, self.data[offset - self.offset])


@dataclass(frozen=True, slots=True)
class Left:
    """A page that stopped holding a frame, at a step that did `op`."""

    page: Page
    step: int
    op: Op


def shaped(op: Op) -> list[PageRange]:
    """List the pages whose mapping `op` makes, changes or ends."""
    if not isinstance(op, Map | Unmap | Protect | Remap | Advise):
        return []
    return [place for place in places(op) if isinstance(place, PageRange)]


def heap_end(op: Brk) -> int:
    """Give the first page behind the heap after `op`."""
    return op.at.vpn + (op.at.offset > 0)


@dataclass(slots=True)
class Timeline:
    """The steps that were done, and after each of them which frame every page had."""

    program: Program
    frames: list[dict[Page, Frame]] = field(default_factory=list)
    """Of each page of each process; those that share an address space have each page once for each of them."""
    spaces: list[dict[int, AddressSpace]] = field(default_factory=list)
    """In which address space each process worked."""
    holders: dict[Frame, int] = field(default_factory=dict)
    """How many page-table entries held each frame when most did."""
    outcomes: list[object] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    """The stores that were done, in order."""
    pinned: set[Frame] = field(default_factory=set)
    """The frames that the program's pipe held at some time."""
    parent: dict[int, int] = field(default_factory=dict)
    forked_at: dict[int, int] = field(default_factory=dict)
    semantics: Semantics | None = None
    """What the kernel may choose, once a step was done."""

    def vma(self, process: int, vpn: int) -> Vma | None:
        """Give the VMA in which page `vpn` of `process` lies when all recorded steps are done."""
        space = self.spaces[-1].get(process) if self.spaces else None
        return space.vmas.find(vpn) if space is not None else None

    def may_be_early(self, process: int, vpn: int) -> bool:
        """Tell whether the kernel may have brought page `vpn` of `process` in before it was touched."""
        vma = self.vma(process, vpn)
        return vma is not None and self.semantics is not None and may_be_prefaulted(self.semantics, vma)

    def record(self, machine: Machine, op: Op, outcome: object) -> None:
        """Note the state after a step."""
        step = len(self.frames)
        self.semantics = machine.semantics
        spaces = {number: each.space for number, each in machine.processes.items() if each.space is not None}
        held = {(number, vpn): pte.frame for number, space in spaces.items() for vpn, pte in space.page_table.walk()}
        for frame, holders in reference_index(machine).items():
            self.holders[frame] = max(self.holders.get(frame, 0), holders.mapcount)
        self.frames.append(held)
        self.spaces.append(spaces)
        self.outcomes.append(outcome)
        self.stored += [Stored(step, op, *each) for each in _stores(machine, op, outcome)]
        self.pinned.update(pin.frame for pin in machine.pins)
        if isinstance(op, FORKS):
            self.parent[op.child] = op.process
            self.forked_at[op.child] = step

    # ------------------------------------------------------------------ kinship

    def ancestors(self, process: int) -> list[int]:
        """List parent, grandparent and so on."""
        found = []
        while (parent := self.parent.get(process)) is not None:
            found.append(parent)
            process = parent
        return found

    def distance(self, one: int, other: int) -> int:
        """Count the generations between two processes of one line, or of two lines from a common ancestor."""
        lines = [[process, *self.ancestors(process)] for process in (one, other)]
        common = next(process for process in lines[0] if process in lines[1])
        return max(line.index(common) for line in lines)

    def sharing(self, process: int) -> tuple[int, type[Op]] | None:
        """Tell how the address space of `process` came to be shared, if it ever was: the step, and vfork or clone."""
        space = self.spaces[-1].get(process) if self.spaces else None
        for step, op in self.steps():
            if isinstance(op, SHARERS) and self.spaces[step].get(op.child) is space is not None:
                return step, type(op)
        return None

    def sharers(self, process: int) -> set[int]:
        """Give all who ever worked in the address space in which `process` is, itself included."""
        space = self.spaces[-1].get(process) if self.spaces else None
        return {
            process,
            *(number for spaces in self.spaces for number, each in spaces.items() if each is space is not None),
        }

    # ------------------------------------------------------------------ steps

    def steps(self) -> Iterator[tuple[int, Op]]:
        """Give the steps that were done, numbered."""
        return enumerate(self.program.steps[: len(self.frames)])

    def trail(self, process: int, vpn: int, *, end: int | None = None) -> list[Page]:
        """Say where the page was that is `vpn` of `process` now (or before step `end`): for each step, when it was done.

        A fork brings the parent's page, mremap brings it from elsewhere. A page that was mapped anew is taken for the
        one that it replaced: whoever asks looks at `last_change` too.
        """
        page = (process, vpn)
        found = []
        for step in range((len(self.frames) if end is None else end) - 1, -1, -1):
            found.append((self._owner(step, page[0]), page[1]))
            page = self._before(step, page)
        return found[::-1]

    def _owner(self, step: int, process: int) -> int:
        """Give the first of those who work after `step` in the address space of `process`; their pages are one."""
        spaces = self.spaces[step]
        return min((each for each, space in spaces.items() if space is spaces.get(process)), default=process)

    def _is_ours(self, step: int, op: Op, process: int) -> bool:
        """Tell whether `op`, done at `step`, was done in the address space of `process`."""
        return self._owner(step, op.process) == self._owner(step, process)

    def _before(self, step: int, page: Page) -> Page:
        """Say where `page` was before a step that may have brought it."""
        op = self.program.steps[step]
        process, vpn = page
        if isinstance(op, FORKS) and op.child == process:
            return op.process, vpn
        if isinstance(op, Remap) and self._is_ours(step, op, process) and self.outcomes[step] == Done():
            index = vpn - op.to.vpn
            if 0 <= index < op.kept:
                return process, op.pages.vpn + index
        return page

    def akin(self, one: Page, other: Page) -> bool:
        """Tell whether two pages were one once: by forks, or because mremap moved them."""
        return one[1] == other[1] or any(a == b for a, b in zip(self.trail(*one), self.trail(*other), strict=True))

    def stores(self, process: int, vpn: int) -> list[Stored]:
        """List the stores that were done to page `vpn` of `process`, to the page of that number of anybody else, and to
        pages that were one with it before.
        """
        trail = self.trail(process, vpn)
        return [each for each in self.stored if each.vpn == vpn or self._was_one(trail, each)]

    def _was_one(self, trail: list[Page], stored: Stored) -> bool:
        theirs = self.trail(stored.process, stored.vpn, end=stored.step + 1)
        return any(a == b for a, b in zip(trail, theirs, strict=False))

    def follows_fork(self, stored: Stored) -> bool:
        """Tell whether nobody else had a turn between the last fork of the storing process and its store.

        No other address space has run on the CPU then, so a translation from before the fork may still be in its TLB.
        """
        for step in range(stored.step - 1, -1, -1):
            op = self.program.steps[step]
            if op.process != stored.process:
                return False
            if isinstance(op, Fork):
                return True
        return False

    def last_exec(self, process: int) -> int:
        """Give the step of the last exec of `process` or of the ancestor that it came from; -1: none."""
        last = -1
        line = [process, *self.ancestors(process)]
        for step, op in self.steps():
            if isinstance(op, Exec) and op.process in line and self._counts_for(process, op.process, step):
                last = step
        return last

    def _counts_for(self, process: int, other: int, step: int) -> bool:
        """Tell whether what `other` (of the line of `process`) did at `step` came down to `process`."""
        while process != other:
            if self.forked_at[process] < step:
                return False
            process = self.parent[process]
        return True

    def inherited(self, process: int, vpn: int) -> list[Stored]:
        """List the stores to `vpn` that `process` should see the effect of."""
        trail = self.trail(process, vpn)
        return [
            stored
            for stored in self.stores(process, vpn)
            if trail[stored.step] == (self._owner(stored.step, stored.process), stored.vpn)
        ]

    def delivers(self, offset: int) -> bool:
        """Tell whether the kernel has stored to this offset of a fixed buffer, wherever that shows or should."""
        return any(
            isinstance(op, Deliver) and op.at.offset == offset and self.outcomes[step] == Done()
            for step, op in self.steps()
        )

    def fed(self, value: int | None) -> bool:
        """Tell whether a byte of this value was written into the pipe behind a page that it held then."""
        held = 0
        for step, op in self.steps():
            if isinstance(op, Feed) and op.value == value and held > 0:
                return True
            done = not isinstance(self.outcomes[step], Failed)
            held += done * (isinstance(op, Pin | Splice | Feed) - isinstance(op, Unpin))
        return False

    def was_refused(self, process: int, vpn: int) -> bool:
        """Tell whether the kernel said that it could not store for `process` to memory that page `vpn` is part of."""
        return any(
            isinstance(op, KERNEL_STORES) and op.process == process and self.outcomes[step] == Failed("EFAULT")
            for step, op in self.steps()
            if vpn in _pages(op)
        )

    def image(self, process: int) -> Image:
        """Give the image that `process` runs."""
        step = self.last_exec(process)
        op = self.program.steps[step] if step >= 0 else None
        return IMAGES[op.image if isinstance(op, Exec) else OWN]

    def last_change(self, process: int, vpn: int) -> tuple[int, Op] | None:
        """Give the last operation that shaped page `vpn` of `process` by more than stores, with its step."""
        for step, (actor, page) in reversed(list(enumerate(self.trail(process, vpn)))):
            op = self.program.steps[step]
            if self._owner(step, op.process) != actor:
                continue
            if isinstance(op, Exec) or any(page in vpns for vpns in self._shaped(step, op)):
                return step, op
        return None

    def _shaped(self, step: int, op: Op) -> list[range]:
        """List the pages whose mapping step `step` made, changed or ended."""
        if isinstance(op, Brk):
            ends = sorted((self._break(step, op.process), heap_end(op)))
            return [range(*ends)]
        return [each.vpns for each in shaped(op)]

    def _break(self, step: int, process: int) -> int:
        """Give the first page behind the heap of `process` before step `step`."""
        for number in range(step - 1, -1, -1):
            op = self.program.steps[number]
            if isinstance(op, FORKS) and op.child == process:
                process = op.process
            elif op.process == process and isinstance(op, Exec):
                return IMAGES[op.image].brk
            elif isinstance(op, Brk) and self.outcomes[number] == Done() and self._is_ours(number, op, process):
                return heap_end(op)
        return IMAGES[OWN].brk

    # ------------------------------------------------------------------ frames

    def left(self, frame: Frame) -> list[Left]:
        """List the pages that held `frame` once and no longer do, though the address space may go on without them."""
        found: list[Left] = []
        before: set[Page] = set()
        for step, op in self.steps():
            now = {page for page, held in self.frames[step].items() if held is frame}
            found += [Left(page, step, op) for page in before - now]
            before = now
        return found

    def advice_to_page(self, process: int, vpn: int) -> set[Advice]:
        """Give what page `vpn` of `process` was advised, wherever it was then."""
        return {
            op.advice
            for (step, op), (actor, page) in zip(self.steps(), self.trail(process, vpn), strict=True)
            if isinstance(op, Advise) and page in op.pages.vpns and self._is_ours(step, op, actor)
        }

    def advice_to_frame(self, frame: Frame) -> set[Advice]:
        """Give what pages were advised that held `frame` then."""
        return {
            op.advice
            for step, op in self.steps()
            if isinstance(op, Advise) and any(self.frames[step].get((op.process, vpn)) is frame for vpn in op.pages.vpns)
        }

    def left_by(self, process: int) -> set[type[Op]]:
        """Give the operations by which others left the address space of `process` while it went on."""
        space = self.spaces[-1].get(process) if self.spaces else None
        return {
            type(op)
            for step, op in self.steps()
            if step and space is not None
            and self.spaces[step - 1].get(leaver := _leaver(op)) is space and self.spaces[step].get(leaver) is not space
        }  # fmt: skip

    def most_holders(self, frame: Frame) -> int:
        """Count the page-table entries that held `frame` when most did."""
        return self.holders.get(frame, 0)

    def changed(self, page: Page) -> tuple[int, Op] | None:
        """Give the last step at which `page` got its present frame, and what was done there."""
        last = None
        before: Frame | None = None
        for step, op in self.steps():
            now = self.frames[step].get(page)
            if now is not before and now is not None:
                last = (step, op)
            before = now
        return last

    def broke_cow(self, page: Page) -> bool:
        """Tell whether the present frame of `page` was made by copying another.

        The first store to a private file page copies the page cache's frame, mapped before or not.
        """
        changed = self.changed(page)
        if changed is None or not isinstance(changed[1], (*STORES, Force, Poke)) or whose(changed[1]) != page[0]:
            return False
        vma = self.vma(*page)
        is_file = vma is not None and vma.file in SEGMENT_OF
        return is_file or (changed[0] > 0 and self._before(changed[0], page) in self.frames[changed[0] - 1])
