"""What a guest may show of a process's memory, and how the model follows the choices that it made.

The comparison asks for `expected_pages`, holds them against what it saw, and where a page is OPTIONAL,
its frame UNDETERMINED, guessed (`prefault`) or `may_move`, tells the model what the guest did. From then on the model is as
sure as the guest is. Adopt presence first, for all processes, then zero pages, then moves; then compare
counts, which are right only when no entry is OPTIONAL any more.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from harness.model.counts import Holders, free_unheld, held, reference_index
from harness.model.fault import WRITE, is_behind_end, may_be_prefaulted, may_read, may_vanish, untouched_contents, vanish
from harness.model.frame import OWN, RECREATABLE, ZEROES, Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.process import State
from harness.model.semantics import Choice
from harness.model.vma import Vma, normalised
from harness.program.units import in_windows, is_watched


class Presence(enum.Enum):
    """Whether a page has an entry in the page table."""

    REQUIRED = "present"
    FORBIDDEN = "not present"
    OPTIONAL = "present or not: the kernel's choice"


@dataclass(frozen=True, slots=True)
class ExpectedPage:
    """What the model expects of one page of one VMA.

    `frame`     the model's frame behind it; None where the page is not there, or would be prefaulted.
    `readable`  whether the process may read it.
    `content`   the 4,096 bytes that it would read, present or not; None where it may not read.
    `may_write` whether the hardware entry may have the writable bit (if present).
    `prefault`  the page was not touched by the process: it counts against the prefault budget.
    `others`    what it may read instead of `content`, where it was advised that its bytes may go.
    `is_doubtful`  nobody says what it is.
    """

    presence: Presence
    frame: Frame | None
    readable: bool
    content: bytes | None
    may_write: bool = False
    prefault: bool = False
    others: tuple[bytes, ...] = ()
    is_doubtful: bool = False

    @property
    def contents(self) -> tuple[bytes, ...]:
        """All that it may read."""
        return () if self.content is None else (self.content, *self.others)


def expected_vmas(machine: Machine, number: int) -> list[Vma]:
    """List the VMAs of a live process, normalised: all that could be one VMA is one."""
    return normalised(machine.process(number).memory.vmas)


def optional_pages(machine: Machine, number: int) -> dict[int, bool]:
    """List the OPTIONAL pages of live process `number` that lie in a window, and whether each has an entry."""
    space = machine.process(number).memory
    ptes = dict(space.page_table.walk())
    optional: dict[int, bool] = {}
    for vma in space.vmas:
        may_appear = may_be_prefaulted(machine.semantics, vma)
        for vpn in in_windows(vma.start, vma.end):
            pte = ptes.get(vpn)
            if pte is None:
                if may_appear and not is_behind_end(machine, vma, vpn):
                    optional[vpn] = False
            elif pte.optional or may_vanish(machine, pte):
                optional[vpn] = True
    return optional


def expected_pages(machine: Machine, number: int, index: Mapping[Frame, Holders] | None = None) -> dict[int, ExpectedPage]:
    """Tell, for each page of each VMA of live process `number` that lies in a window, what an observation must show.

    Pages outside the VMAs are not in the result: they must not be present. `index` is what `reference_index` gives now, for
    who has it.
    """
    space = machine.process(number).memory
    ptes = dict(space.page_table.walk())
    index = reference_index(machine) if index is None else index
    expected: dict[int, ExpectedPage] = {}
    for vma in space.vmas:
        readable = may_read(machine.semantics, vma.prot)
        for vpn in in_windows(vma.start, vma.end):
            pte = ptes.get(vpn)
            if vpn in space.doubtful:
                expected[vpn] = ExpectedPage(Presence.OPTIONAL, None, readable, None, may_write=True, is_doubtful=True)
            elif pte is None:
                expected[vpn] = _absent(machine, vma, vpn, readable=readable)
            else:
                expected[vpn] = _present(vma, pte, index[pte.frame], readable=readable, may_go=may_vanish(machine, pte))
    return expected


def _absent(machine: Machine, vma: Vma, vpn: int, *, readable: bool) -> ExpectedPage:
    if is_behind_end(machine, vma, vpn):
        return ExpectedPage(Presence.FORBIDDEN, None, readable=False, content=None)
    content, *others = untouched_contents(machine, vma, vpn) if readable else (None,)
    if not may_be_prefaulted(machine.semantics, vma):
        return ExpectedPage(Presence.FORBIDDEN, None, readable, content, others=tuple(others))
    may_write = (vma.file is None or vma.shared) and bool(vma.prot & WRITE)
    return ExpectedPage(Presence.OPTIONAL, None, readable, content, may_write, prefault=True, others=tuple(others))


def _present(vma: Vma, pte: PTE, holders: Holders, *, readable: bool, may_go: bool) -> ExpectedPage:
    own = (
        pte.frame.kind in OWN
        and holders.held - holders.pins - holders.fixed == 1
        and (pte.frame.exclusive or not holders.pins)
    )
    sole = vma.shared or own
    return ExpectedPage(
        Presence.OPTIONAL if pte.optional or may_go else Presence.REQUIRED,
        pte.frame,
        readable,
        pte.frame.content if readable else None,
        may_write=sole and bool(vma.prot & WRITE),
        prefault=pte.prefaulted,
        others=(*pte.frame.also, ZEROES) if may_go else pte.frame.also,
    )


# ------------------------------------------------------------------------------ adopting


def adopt_presence(machine: Machine, number: int, vpn: int, present: bool) -> None:
    """Follow the guest at an OPTIONAL page that has an entry: it is there, or it is not.

    Raises ValueError where the page is not OPTIONAL in this way.
    """
    process = machine.process(number)
    pte = process.memory.page_table.lookup(vpn)
    if pte is None or not (pte.optional or may_vanish(machine, pte)):
        raise ValueError(f"page {vpn:#x} of p{number} is not optional")
    if present:
        pte.optional = pte.swapped = False
    elif pte.swapped:  # it is in swap, was free to go and went, or is the zero page, not copied by a fork: a touch tells
        machine.reach["swap"] += 1
    elif pte.lazy or pte.frame.kind in RECREATABLE:  # else it is made when it is touched, and as it is here
        process.memory.page_table.unmap(vpn)
        free_unheld(machine, [pte.frame])


def forget_holes(machine: Machine) -> None:
    """Let pages of files that are in no page table any more be the holes that they were, where the cache may have dropped
    them: once it is known who has them. Whether it did, nobody can see.
    """
    paged_out = [frame for frame in machine.cache.frames.values() if frame.is_hole and frame.is_paged_out]
    machine.cache.forget_holes({frame for frame in paged_out if held(machine, frame) == 1})


def adopt_vanished(machine: Machine, number: int, vpn: int, instead: Frame | None = None) -> Frame | None:
    """Follow the guest where a page that was free to go reads zero; gives the frame that it has now, None where this is no
    such page.

    It is present, so something has touched it since, of which the caller saw nothing: where that was before a fork, the
    relatives share the frame that it got, which is `instead`.
    """
    process = machine.process(number)
    pte = process.memory.page_table.lookup(vpn)
    if pte is None or not may_vanish(machine, pte):
        return None
    vanish(machine, process, vpn)
    pte = process.memory.page_table.lookup(vpn)
    assert pte is not None, "it was touched"
    if instead is not None and pte.frame.kind is FrameKind.UNDETERMINED:
        old, pte.frame = pte.frame, instead
        instead.exclusive = pte.write_pending = False
        free_unheld(machine, [old])
    return pte.frame


def adopt_zero(frame: Frame, is_zero_page: bool) -> None:
    """Follow the guest at an UNDETERMINED frame: it is the zero page, or a frame of the process's own.

    As the zero page it stays an object of its own here, of kind ZERO: another name for the same frame.
    Raises ValueError where the frame is not UNDETERMINED.
    """
    if frame.kind is not FrameKind.UNDETERMINED:
        raise ValueError(f"{frame!r} is not undetermined")
    frame.kind = FrameKind.ZERO if is_zero_page else FrameKind.ANON


def adopt_fault(machine: Machine) -> None:
    """Follow the guest, whose last step took a page fault: what it was the first to read was not there before.

    So nobody had brought it in, and what a fault brings is known where the kernel has no choice: the zero page.
    """
    frame = machine.first_read
    undetermined = frame is not None and frame.kind is FrameKind.UNDETERMINED
    if frame is not None and undetermined and machine.semantics.zero_page_on_read is Choice.ALWAYS:
        adopt_zero(frame, is_zero_page=True)


def adopt_pins(machine: Machine, frame: Frame, count: int) -> None:
    """Note that `count` of the pins on `frame` are there, where a store may have left some behind (`Pin.before`).

    Those that were left behind are the oldest; they hold a frame of their own, with the bytes from before the store.
    """
    held = [pin for pin in machine.pins if pin.frame is frame]
    for pin in held[: len(held) - count]:
        *earlier, (content, *also) = pin.before
        pin.frame, pin.before = machine.pool.fresh(FrameKind.ANON, content, tuple(also)), tuple(earlier)
        pin.frame.exclusive = False
    for pin in held[len(held) - count :]:
        pin.before = ()


def certain_frames(machine: Machine) -> set[Frame]:
    """List the frames in use but for those that only pins hold of which it is not known whether they do."""
    doubtful = {pin.frame for pin in machine.pins if pin.before}
    index = reference_index(machine)
    return machine.pool.in_use - {frame for frame in doubtful if not index[frame].ptes}


def adopt_move(frame: Frame) -> None:
    """Note that it is known now whether `frame` moved; from here on it must stay."""
    frame.may_move = False


def doubtful_frames(machine: Machine) -> set[Frame]:
    """List the frames of which it is not known how many entries hold them: where a page that nobody watches may be there or
    not, or lead to another frame, no observation tells; nor where a process that does nothing may have it in swap.
    """
    doubtful = set()
    for process, space in machine.spaces():
        is_looked_at = process.state is State.LIVE and not space.idle
        for base, leaf in space.page_table.leaves():
            for index, pte in leaf.entries.items():
                in_doubt = (pte.optional or pte.guessed) and not is_watched(base + index) if is_looked_at else pte.swapped
                if in_doubt:
                    doubtful.add(pte.frame)
    return doubtful


def adopt_crowds(machine: Machine, frame: Frame, missing: int) -> bool:
    """Follow the guest where idle children, or zombies that keep their memory, lack entries of `frame` that may be absent,
    `missing` in all.

    Which page a process that does nothing has, only the frame's counts tell. Gives False where that cannot be.
    """
    found = [
        (space, vpn)
        for process, space in machine.spaces()
        if space.idle or process.state is not State.LIVE
        for vpn, pte in space.page_table.walk()
        if pte.frame is frame and pte.optional and not pte.swapped
    ]
    for size in range(1, len(found) + 1):
        for some in combinations(found, size):
            if sum(space.idle or 1 for space, _ in some) == missing:
                for space, vpn in some:
                    space.page_table.unmap(vpn)
                free_unheld(machine, [frame])
                return True
    return False
