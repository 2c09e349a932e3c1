"""Pages that the kernel brings in of its own accord, and what a fork makes of them.

Prefault changes nothing that a process can see but the time that its first touch takes. So whether an untouched page is
there is no part of the state, and nobody asks, until one of three looks closer::

    an observation   the page is there or not, and the model follows                          (adopt_prefault)
    a touch          the page was there, and there is no fault; or there is one               (fault.demand_fault)
    a fork           if the page was there, parent and child share its frame from now on      (guess)

At a fork nobody can tell yet. Both get an entry to one frame, which is only *guessed*: at the next observation each may be
absent, lead to the same frame as the other, or to another of the same bytes, brought in later (`settle`).

Source: MAP_POPULATE in mmap(2), do_fault_around; the seed's prefault_small_anonymous; kernels whose exec reads the image
into frames of the process's own, as xv6's does.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from harness.model.address_space import AddressSpace
from harness.model.counts import entries, free_unheld, held, pins
from harness.model.fault import (
    WRITE,
    guessed_entry,
    is_behind_end,
    may_be_prefaulted,
    may_have_own_frame,
    may_read,
    untouched_contents,
)
from harness.model.frame import Frame, FrameKind
from harness.model.machine import Machine, Pin
from harness.model.page_table import PTE
from harness.model.process import Process, State
from harness.model.vma import Vma, VmaFlag


class Whose(enum.Enum):
    """Whose frame is behind an untouched page, as far as the guest shows it."""

    ZERO = "the one page of zeroes"
    CACHE = "the page cache's"
    OWN = "the process's own, and that of relatives who have it since a fork"
    UNKNOWN = "not shown"


# ------------------------------------------------------------------------------ fork


def guess(machine: Machine, space: AddressSpace) -> None:
    """Give the untouched pages of `space` that may be there the entries that they have then, for a fork to copy."""
    left_out = VmaFlag.NOT_FORKED | VmaFlag.WIPED_ON_FORK
    for vma in space.vmas:
        if vma.flags & left_out or not may_be_prefaulted(machine.semantics, vma):
            continue
        guess_pages(machine, space, vma)


def guess_pages(machine: Machine, space: AddressSpace, part: Vma) -> None:
    """Do so for the pages of one VMA, or of a part of one, in which the kernel may bring pages in."""
    for vpn in part.vpns:
        if space.page_table.lookup(vpn) is None and not is_behind_end(machine, part, vpn):
            pte = _possible_entry(machine, part, vpn)
            pte.optional = pte.prefaulted = True
            space.page_table.map(vpn, pte)


def _possible_entry(machine: Machine, vma: Vma, vpn: int) -> PTE:
    if may_have_own_frame(machine.semantics, vma):
        return guessed_entry(machine, vma, vpn)
    return _cache_entry(machine, vma, vpn)


def _cache_entry(machine: Machine, vma: Vma, vpn: int) -> PTE:
    assert vma.file is not None, "anonymous memory is not in the page cache"
    pending = vma.shared and bool(vma.prot & WRITE)
    frame = machine.cache.frame(vma.file, vma.file_page(vpn))
    return PTE(frame, may_read(machine.semantics, vma.prot), writable=False, write_pending=pending)


# ------------------------------------------------------------------------------ an untouched page is there


def adopt_prefault(machine: Machine, number: int, vpn: int, whose: Whose = Whose.OWN) -> Frame:
    """Follow the guest where a page without an entry is present; give the frame that it has now.

    Raises ValueError where the kernel may not do this.
    """
    process = machine.process(number)
    vma = process.memory.vmas.find(vpn)
    untouched = process.memory.page_table.lookup(vpn) is None
    if vma is None or not untouched or not may_be_prefaulted(machine.semantics, vma):
        raise ValueError(f"page {vpn:#x} of p{number} may not be prefaulted")
    pte = _entry_to(machine, vma, vpn, whose)
    pte.prefaulted = True
    process.memory.page_table.map(vpn, pte)
    return pte.frame


def _entry_to(machine: Machine, vma: Vma, vpn: int, whose: Whose) -> PTE:
    readable = may_read(machine.semantics, vma.prot)
    if vma.file is None and whose is Whose.ZERO:
        return PTE(machine.zero, readable, writable=False)
    if vma.file is not None and (vma.shared or whose is Whose.CACHE):
        return _cache_entry(machine, vma, vpn)
    if whose is Whose.UNKNOWN:
        return _possible_entry(machine, vma, vpn)
    content, *also = untouched_contents(machine, vma, vpn)
    frame = machine.pool.fresh(FrameKind.ANON, content, tuple(also))
    return PTE(frame, readable, writable=False, write_pending=bool(vma.prot & WRITE))


# ------------------------------------------------------------------------------ what was guessed


@dataclass(frozen=True, slots=True)
class Place:
    """A page of a process whose frame is guessed."""

    process: Process
    vpn: int
    vma: Vma
    pte: PTE


def guessed_places(machine: Machine) -> list[Place]:
    """List the pages of which only a guess says what frame they lead to; idle children and zombies apart."""
    found = []
    for process, space in machine.spaces():
        if space.idle or process.state is not State.LIVE or not any(pte.guessed for pte in space.page_table.ptes()):
            continue
        for vpn, pte in space.page_table.walk():
            vma = space.vmas.find(vpn) if pte.guessed else None
            if vma is not None:
                found.append(Place(process, vpn, vma, pte))
    return found


def settle(machine: Machine, seen: Mapping[tuple[int, int], tuple[Hashable, Whose]]) -> None:
    """Replace guesses by what the guest shows: for (process, page), which frame it is, by any name, and whose.

    Pages that share a frame go on sharing it, if the guess allowed that; all others get one for themselves.
    """
    guessed = guessed_places(machine)
    if not guessed:
        return
    guesses = {place.pte.frame for place in guessed}
    pinned = _pinned(machine, guessed)
    following = {pin for pin, _ in pinned}
    for pin in machine.pins:
        if pin.frame in guesses and pin not in following and not pin.before:
            pin.before = (pin.frame.contents,)  # its page is gone, and nobody can tell any more what frame that had
    names: dict[Frame, dict[Hashable, list[Place]]] = {}
    known: dict[Frame, Frame] = {}
    for place in guessed:
        name, whose = seen.get((place.process.number, place.vpn), (None, Whose.UNKNOWN))
        if whose is Whose.UNKNOWN:
            continue
        if whose is Whose.OWN or (whose is Whose.ZERO) != (place.vma.file is None):
            names.setdefault(place.pte.frame, {}).setdefault(name, []).append(place)
        else:
            frame = _entry_to(machine, place.vma, place.vpn, whose).frame
            known.setdefault(place.pte.frame, frame)
            _follow(place, frame)
            place.pte.write_pending = False  # it is not the process's own
    owned = _follow_names(machine, names)
    _let_zombies_follow(machine, known)
    for pin, pte in pinned:
        pin.frame = pte.frame  # it follows its page, whoever else was thought to have the frame
    for pin in machine.pins:
        if pin.frame in known and not entries(machine, pin.frame):
            pin.frame = known[pin.frame]  # what was pinned is what its page turned out to be
    for places, frame in owned:  # once nobody else is thought to have it
        _make_own(machine, places, frame)
    free_unheld(machine, guesses)


def _pinned(machine: Machine, guessed: list[Place]) -> list[tuple[Pin, PTE]]:
    """List the pins of pages whose frame is guessed, each with the entry that will tell."""
    ptes = {(place.process.memory, place.vpn): place.pte for place in guessed}
    return [(pin, pte) for pin in machine.pins if pin.place and (pte := ptes.get(pin.place)) and pte.frame is pin.frame]


def _follow_names(
    machine: Machine, names: Mapping[Frame, Mapping[Hashable, list[Place]]]
) -> list[tuple[list[Place], Frame]]:
    """Give pages of one guess that are one frame in the guest one frame, and those of another name another."""
    owned = []
    for guess_of, by_name in names.items():
        for number, places in enumerate(by_name.values()):
            frame = machine.pool.fresh(FrameKind.ANON, guess_of.content) if number else guess_of
            for place in places:
                _follow(place, frame)
            owned.append((places, frame))
    return owned


def _let_zombies_follow(machine: Machine, known: Mapping[Frame, Frame]) -> None:
    """Let what zombies have kept lead to the frames that the pages of their relatives turn out to have."""
    for process, space in machine.spaces():
        for pte in space.page_table.ptes() if process.state is not State.LIVE else ():
            if pte.guessed and pte.frame in known:
                pte.frame, pte.guessed, pte.write_pending = known[pte.frame], False, False


def _make_own(machine: Machine, places: list[Place], frame: Frame) -> None:
    """Note that `frame` is memory of the processes that have it; where that is one, it may be writable at once."""
    frame.kind = FrameKind.ANON
    frame.exclusive = held(machine, frame) - pins(machine, frame) == 1
    for place in places:
        place.pte.write_pending = frame.exclusive and bool(place.vma.prot & WRITE)


def _follow(place: Place, frame: Frame) -> None:
    """Let the page lead to `frame`, and so the same page of the process's idle children, which it was forked to."""
    crowd = place.process.crowd
    twin = crowd.page_table.lookup(place.vpn) if crowd is not None else None
    if twin is not None and twin.guessed and twin.frame is place.pte.frame:
        twin.frame, twin.guessed = frame, False
    place.pte.frame, place.pte.guessed = frame, False
