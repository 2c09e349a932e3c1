"""What is true of every machine after every step: named predicates, a sentence and a line or two each.

`broken` names those that do not hold. The tests ask after each step of many programs; so may anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from harness.model.counts import reference_index
from harness.model.fault import is_behind_end, is_unshared, may_read
from harness.model.frame import JUNK, OWN, ZEROES, Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import BITS, PTE, ROOT_LEVEL
from harness.model.process import State
from harness.model.vma import Vma
from harness.program.image import SEGMENT_OF, image_page
from harness.program.units import Prot

# ------------------------------------------------------------------------------ sharing


def writable_frames_have_one_holder(machine: Machine) -> bool:
    """No private frame that two map, or that somebody else has pinned, is mapped writable, nor may it be."""
    private = [pte for pte, vma in _entries(machine) if vma is None or not vma.shared]
    return all(is_unshared(machine, pte.frame) for pte in private if _may_write(pte))


def only_own_frames_are_writable(machine: Machine) -> bool:
    """The zero page is mapped writable nowhere, a page-cache page by shared mappings alone."""
    private = [pte for pte, vma in _entries(machine) if vma is None or not vma.shared]
    return all(pte.frame.kind is FrameKind.ANON for pte in private if pte.writable)


def shared_pages_are_the_page_cache(machine: Machine) -> bool:
    """A shared mapping leads to the frames of its file, each at its offset, whoever maps it and wherever."""
    return all(
        vma.file is not None and machine.cache.frames.get((vma.file, vma.file_page(vpn))) is pte.frame
        for vpn, pte, vma in _mapped(machine)
        if vma.shared
    )


def optional_entries_can_be_filled_again(machine: Machine) -> bool:
    """An entry that may be absent maps what a fault would map again, and nobody wrote it."""
    return all(not pte.writable for pte, _ in _entries(machine) if pte.optional)


# ------------------------------------------------------------------------------ geometry


def vmas_are_not_empty(machine: Machine) -> bool:
    """Each VMA has a page."""
    return all(vma.start < vma.end for vma in _vmas(machine))


def vmas_are_sorted_and_disjoint(machine: Machine) -> bool:
    """Each VMA ends before the next begins."""
    lists = [space.vmas.items for _, space in machine.spaces()]
    return all(a.end <= b.start for vmas in lists for a, b in pairwise(vmas))


def file_vmas_stay_in_their_file(machine: Machine) -> bool:
    """Each page of a VMA of the image is a page of its file."""
    parts = [(vma, SEGMENT_OF[vma.file][1]) for vma in _vmas(machine) if vma.file in SEGMENT_OF]
    return all(vma.pgoff + vma.npages <= segment.file_pages for vma, segment in parts)


def nothing_is_mapped_behind_the_end_of_a_file(machine: Machine) -> bool:
    """A page that lies wholly behind the end of its file is not present, not even as a private copy."""
    return not any(is_behind_end(machine, vma, vpn) for vpn, _, vma in _mapped(machine))


def shared_memory_is_mapped(machine: Machine) -> bool:
    """Shared anonymous memory is there as long as somebody maps it, and not a moment longer."""
    anonymous = {name for name, file in machine.cache.files.items() if file.is_anonymous}
    mapped = {vma.file for vma in _vmas(machine) if vma.shared and vma.file is not None}
    return anonymous <= mapped <= machine.cache.files.keys()


def present_pages_lie_in_a_vma(machine: Machine) -> bool:
    """Each present page lies in a VMA."""
    return all(vma is not None for _, vma in _entries(machine))


def entries_are_not_writable_where_the_vma_is_not(machine: Machine) -> bool:
    """An entry is writable only in a VMA that is."""
    return all(not _may_write(pte) or vma.prot & Prot.W for pte, vma in _entries(machine) if vma)


def entries_are_readable_where_the_vma_is(machine: Machine) -> bool:
    """A present page is readable exactly if its VMA is: no fault would ever change that."""
    readable = [(pte.readable, vma.prot) for pte, vma in _entries(machine) if vma]
    return all(can == may_read(machine.semantics, prot) for can, prot in readable)


# ------------------------------------------------------------------------------ frames


def table_pages_are_referenced_once(machine: Machine) -> bool:
    """The table pages of all processes form trees: no frame is a table twice."""
    frames = [frame for _, _, frame in _tables(machine)]
    return len(frames) == len(set(frames))


def table_pages_are_tables_only(machine: Machine) -> bool:
    """A frame that is a table page is nothing else, and no table is mapped as memory."""
    kinds = {frame.kind for _, _, frame in _tables(machine)}
    return kinds <= {FrameKind.TABLE} and all(pte.frame.kind is not FrameKind.TABLE for pte, _ in _entries(machine))


def table_pages_cover_a_vma(machine: Machine) -> bool:
    """Below the root, no table page is kept for pages that have no VMA."""
    return all(
        space.vmas.any_in(base, base + (1 << BITS * level))
        for _, space in machine.spaces()
        for level, base, _ in space.page_table.tables()
        if level < ROOT_LEVEL
    )


def the_zero_page_is_zero(machine: Machine) -> bool:
    """The zero page reads zero for everybody, for ever, under each of its names."""
    names = [
        machine.zero,
        *(pte.frame for pte, _ in _entries(machine) if pte.frame.kind is FrameKind.ZERO),
    ]
    return all(frame.kind is FrameKind.ZERO and frame.content == ZEROES for frame in names)


def cached_pages_have_the_file_bytes(machine: Machine) -> bool:
    """A page-cache page of the image has the file's bytes, whatever was written through private mappings."""
    image = [(key, frame) for key, frame in machine.cache.frames.items() if key[0] in SEGMENT_OF]
    return all(frame.content == image_page(*key) for key, frame in image)


def cached_pages_lie_in_their_file(machine: Machine) -> bool:
    """No page is cached that lies wholly behind the end of its file."""
    return all(machine.cache.reaches(name, index) for name, index in machine.cache.frames)


def cached_pages_are_cache_only(machine: Machine) -> bool:
    """A frame is in the page cache exactly if it is of that kind."""
    cached = {frame for frame in reference_index(machine) if frame.kind is FrameKind.CACHE}
    return cached == set(machine.cache.frames.values())


def held_frames_are_in_use(machine: Machine) -> bool:
    """No frame that somebody holds is free."""
    held = reference_index(machine)
    return all(frame in machine.pool.in_use and frame.content != JUNK for frame in held)


def frames_in_use_are_held(machine: Machine) -> bool:
    """No frame is lost: each frame in use is memory, page cache, a table page, or the zero page."""
    tables = {frame for _, _, frame in _tables(machine)}
    return machine.pool.in_use <= {machine.zero} | tables | reference_index(machine).keys()


def own_frames_have_one_page_in_a_process(machine: Machine) -> bool:
    """A process holds a frame of its own at one page: mremap moves pages, and doubles none."""
    held = [(frame, holders.ptes) for frame, holders in reference_index(machine).items() if frame.kind in OWN]
    return all(len({number for number, _ in ptes}) == len(ptes) for _, ptes in held)


# ------------------------------------------------------------------------------ processes


def only_the_living_have_memory(machine: Machine) -> bool:
    """A process has an address space while it lives, and not a moment longer, but for zombies that may keep theirs."""
    ended = [p for p in machine.processes.values() if p.state is not State.LIVE]
    may_keep = machine.semantics.zombies_keep_memory
    return all(p.space is not None for p in machine.live) and (may_keep or all(p.space is None for p in ended))


def the_ended_have_a_status(machine: Machine) -> bool:
    """A process has a status once it has ended, and not before."""
    return all((p.status is None) == (p.state is State.LIVE) for p in machine.processes.values())


def zombies_have_a_living_parent(machine: Machine) -> bool:
    """A zombie waits for somebody who can still wait for it."""
    parents = [p.parent for p in machine.processes.values() if p.state is State.ZOMBIE]
    return all(n is not None and machine.processes[n].state is State.LIVE for n in parents)


# ------------------------------------------------------------------------------ all of them

INVARIANTS: tuple[Callable[[Machine], bool], ...] = (
    writable_frames_have_one_holder,
    only_own_frames_are_writable,
    shared_pages_are_the_page_cache,
    optional_entries_can_be_filled_again,
    vmas_are_not_empty,
    vmas_are_sorted_and_disjoint,
    file_vmas_stay_in_their_file,
    nothing_is_mapped_behind_the_end_of_a_file,
    shared_memory_is_mapped,
    present_pages_lie_in_a_vma,
    entries_are_not_writable_where_the_vma_is_not,
    entries_are_readable_where_the_vma_is,
    table_pages_are_referenced_once,
    table_pages_are_tables_only,
    table_pages_cover_a_vma,
    the_zero_page_is_zero,
    cached_pages_have_the_file_bytes,
    cached_pages_lie_in_their_file,
    cached_pages_are_cache_only,
    held_frames_are_in_use,
    frames_in_use_are_held,
    own_frames_have_one_page_in_a_process,
    only_the_living_have_memory,
    the_ended_have_a_status,
    zombies_have_a_living_parent,
)
"""Every invariant."""


def broken(machine: Machine) -> list[str]:
    """Name the invariants that do not hold of `machine`; none is what one wants."""
    return [invariant.__name__ for invariant in INVARIANTS if not invariant(machine)]


def _entries(machine: Machine) -> Iterator[tuple[PTE, Vma | None]]:
    """Give each leaf entry of each process, and the VMA in which its page lies."""
    for _, space in machine.spaces():
        for vpn, pte in space.page_table.walk():
            yield pte, space.vmas.find(vpn)


def _mapped(machine: Machine) -> Iterator[tuple[int, PTE, Vma]]:
    """Give each leaf entry that lies in a VMA, with its page and the VMA."""
    for _, space in machine.spaces():
        for vpn, pte in space.page_table.walk():
            vma = space.vmas.find(vpn)
            if vma is not None:
                yield vpn, pte, vma


def _vmas(machine: Machine) -> Iterator[Vma]:
    for _, space in machine.spaces():
        yield from space.vmas


def _tables(machine: Machine) -> Iterator[tuple[int, int, Frame]]:
    for _, space in machine.spaces():
        yield from space.page_table.tables()


def _may_write(pte: PTE) -> bool:
    return pte.writable or pte.write_pending
