"""The life of an address space: made by exec, copied by fork, torn down by exec and exit.

Fork copies every present entry into tables of the child's own, and both sides end up alike::

    before    parent's entry  WRITABLE ──> frame  refcount 1
    after     parent's entry  COW      ──> frame  refcount 2  <── COW  child's entry
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model_guest.entries import duplicate, live_root
from harness.model_guest.huge_pages import copy_huge, frames_to_drop
from harness.model_guest.machine import AddressSpace, Machine, image_vmas
from harness.model_guest.pagefault import force_fault
from harness.model_guest.paging import (
    BITS,
    COW,
    DIRTY,
    ENTRIES,
    FLAGS,
    HUGE,
    PRESENT,
    SWAPPED,
    TABLE,
    TOP,
    USER,
    WRITABLE,
    entry_of,
    pfn_of,
)
from harness.model_guest.prefault import prefault_image, prefault_mapping
from harness.model_guest.swap import let_go
from harness.model_guest.trouble import OutOfMemory
from harness.model_guest.vmas import WIPED_ON_FORK, Vma, VmaList
from harness.program.image import IMAGES, OWN, Image, Segment
from harness.program.units import IMAGE, PAGE_SIZE

Pair = tuple[int, int]
"""A table of the parent, and the child's at the same place."""


@dataclass(frozen=True, slots=True)
class Copying:
    """What a fork has to know beside the tables: for whom they are, and the pages that the child does not get."""

    child: AddressSpace
    left_out: set[int]


def image_space(machine: Machine, image: Image = IMAGES[OWN]) -> AddressSpace:
    """Make the address space that exec starts with: the image's VMAs, and nothing resident but tails that were zeroed.

    Raises: OutOfMemory; then nothing is held.
    """
    vmas = VmaList(machine.planted, image_vmas(machine, image))
    brk = image.brk * PAGE_SIZE
    space = AddressSpace(machine.tables.new_table(), vmas, brk=brk, brk_start=brk)
    try:
        for segment in image.segments:
            if segment.tail and segment.npages * PAGE_SIZE > segment.file_size:
                _zero_tail(machine, space, segment)
        for vma in vmas:
            prefault_mapping(machine, space, vma)
        prefault_image(machine, space)
    except OutOfMemory:
        release(machine, space)
        raise
    return space


def _zero_tail(machine: Machine, space: AddressSpace, segment: Segment) -> None:
    """Zero what the last page of a segment's file holds behind the segment's bytes: in the process's memory alone."""
    if machine.has("exec-tail-not-zeroed"):  # planted: the file's bytes stay in memory
        return
    vpn = segment.vpn + segment.file_pages - 1
    in_file = machine.has("exec-zeroes-tail-in-cache")  # planted: the page is looked up in the cache, and zeroed there
    pfn = force_fault(machine, space, vpn, write=not in_file)
    machine.frames[pfn].data[segment.tail :] = bytes(PAGE_SIZE - segment.tail)


def keep_old_mappings(machine: Machine, old: AddressSpace, new: AddressSpace) -> None:
    """Let what the old image had where the new one has nothing be there still. (A fault, `exec-keeps-old-mappings`.)"""
    for window in IMAGE:
        for vpn in range(window.vpn, window.vpn + window.npages):
            vma, entry = old.vmas.find(vpn), machine.tables.lookup(live_root(old), vpn)
            if vma is None or new.vmas.find(vpn) is not None:
                continue
            new.vmas.insert(Vma(vpn, vpn + 1, vma.prot, vma.file_page(vpn), vma.file))
            if entry & PRESENT:
                machine.tables.store(live_root(new), vpn, entry)
                machine.count_rss(new, pfn_of(entry), 1)
                _count_new_entry(machine, entry)


# ------------------------------------------------------------------------------------- fork


def forked_space(machine: Machine, parent: AddressSpace) -> AddressSpace:
    """Give the child's address space. Raises: OutOfMemory; then nothing of the child is held."""
    if machine.has("ghost-fork"):  # planted: the copy is saved, both work in the parent's memory
        parent.users += 1
        return parent
    child = AddressSpace(
        machine.tables.new_table(), parent.vmas.copy(), brk=parent.brk, brk_start=parent.brk_start,
        prefault_left=parent.prefault_left,
    )  # fmt: skip
    if machine.has("shared-untouched-not-shared"):  # planted: what is not there yet is brought in by each for itself
        child.vmas.replace_files(lambda file: file if file.name else machine.files.adopt(file.twin()))
    if machine.has("wiped-not-promised"):  # planted: nothing is set apart for what is empty, and given back all the same
        machine.promised_to_nobody -= sum(len(vma.vpns) for vma in child.vmas if vma.flags & WIPED_ON_FORK)
    try:
        if machine.has("size-charges-dontfork"):  # planted: its size is copied with the rest, and then it gets less
            child.miscounted = parent.size - child.vmas.npages
        copying = Copying(child, parent.vmas.left_out())
        _copy_tables(machine, copying, (live_root(parent), live_root(child)), TOP)
    except OutOfMemory:
        if not machine.has("failed-fork-leaks"):  # planted: the error path leaves what the fork had taken
            release(machine, child)
        raise
    finally:
        if not machine.has("fork-keeps-tlb"):  # planted: the parent may write on what it remembers
            machine.tlb.flush()
    return child


def shared_space(machine: Machine, parent: AddressSpace, *, waits: bool) -> AddressSpace:
    """Give the address space of a child of vfork (`waits`) or clone: the parent's own. Raises: OutOfMemory."""
    if waits and machine.has("vfork-copies"):  # planted: it is made like a fork's
        return forked_space(machine, parent)
    if not waits and machine.has("clone-vm-copies"):  # planted: so is this one
        return forked_space(machine, parent)
    parent.users += 1
    return parent


def _copy_tables(machine: Machine, copying: Copying, tables: Pair, level: int, base: int = 0) -> None:
    """Copy what a table of some level leads to; `base` is the first page that it can map."""
    for index, entry in machine.tables.entries(tables[0], bits=PRESENT | SWAPPED):
        first = base + (index << BITS * level)
        if level == 0:
            if entry & SWAPPED and first not in copying.left_out:
                _copy_swapped(machine, tables, index, entry)
            elif first not in copying.left_out:
                vma = copying.child.vmas.find(first)
                copy = _copy_shared_leaf if vma is not None and vma.shared else _copy_leaf
                copy(machine, tables, index, entry)
                if not machine.has("rss-not-inherited-by-fork"):  # planted: a child is taken to begin with nothing
                    machine.count_rss(copying.child, pfn_of(entry), 1)
            continue
        if entry & HUGE and _is_shared_whole(machine, copying, first, entry):
            in_parent, in_child = copy_huge(machine, copying.child, entry)
            machine.tables.write(tables[0], index, in_parent)
            machine.tables.write(tables[1], index, in_child)
            continue
        below = machine.tables.split_at(tables[0], index, first) if entry & HUGE else entry
        table = machine.tables.new_table()
        machine.tables.write(tables[1], index, entry_of(table, TABLE))
        _copy_tables(machine, copying, (pfn_of(below), table), level - 1, first)


def _is_shared_whole(machine: Machine, copying: Copying, first: int, entry: int) -> bool:
    """Tell whether the child shares a huge page as it is: it gets all of it, and no frame of it is a registered buffer."""
    is_left_out = any(vpn in copying.left_out for vpn in range(first, first + ENTRIES))
    is_fixed = any(machine.is_fixed(pfn_of(entry) + index) for index in range(ENTRIES))
    return not is_left_out and not is_fixed


def _copy_shared_leaf(machine: Machine, tables: Pair, index: int, entry: int) -> None:
    """Let the child have a page of shared memory: nobody loses the right to write."""
    if machine.has("shared-becomes-private"):  # planted: it is CoW like everything else
        _copy_leaf(machine, tables, index, entry)
        return
    machine.tables.write(tables[1], index, entry)
    _count_new_entry(machine, entry)


def _copy_leaf(machine: Machine, tables: Pair, index: int, entry: int) -> None:
    """Share one page: both entries lose the right to write, and keep it pending. A registered buffer is not shared."""
    if machine.is_fixed(pfn_of(entry)) and not machine.has("fork-shares-fixed-buffer"):
        # planted: it is shared like any other page
        machine.tables.write(tables[1], index, entry_of(duplicate(machine, pfn_of(entry)), entry & FLAGS))
        return
    if entry & WRITABLE and machine.has("fork-copies-at-once"):  # planted: nothing waits for a store
        machine.tables.write(tables[1], index, entry_of(duplicate(machine, pfn_of(entry)), PRESENT | USER | WRITABLE))
        return
    shared = entry & ~WRITABLE | COW if entry & WRITABLE else entry
    if machine.has("fork-loses-dirty"):  # planted: what is shared is taken for what nobody has stored to
        shared &= ~DIRTY
    in_parent = in_child = shared
    if machine.has("fork-keeps-writable"):  # planted: the parent's entry stays as it was
        in_parent = entry
    if machine.has("fork-keeps-writable-child"):  # planted: the child gets the parent's right
        in_child = entry
    if machine.has("refork-readonly") and entry & COW:  # planted: only WRITABLE is turned into COW
        in_child = entry & ~COW
    machine.tables.write(tables[0], index, in_parent)
    machine.tables.write(tables[1], index, in_child)
    _count_new_entry(machine, entry)


def _copy_swapped(machine: Machine, tables: Pair, index: int, entry: int) -> None:
    """Let the child have a page that is in swap: both entries name the slot."""
    machine.tables.write(tables[1], index, entry)
    if not machine.has("swap-fork-forgets-slot"):  # planted: only frames have counts
        machine.swap[pfn_of(entry)].count += 1


def _count_new_entry(machine: Machine, entry: int) -> None:
    pfn = pfn_of(entry)
    if pfn == machine.zero_pfn:
        return
    if machine.has("fork-forgets-ref"):  # planted: the child's entry holds nothing
        return
    if machine.has("fork-skips-prot-none") and not entry & USER:  # planted: only what is in reach counts
        return
    machine.frames.get(pfn)
    if not machine.has("fork-forgets-mapcount"):  # planted: only the reference is counted
        machine.frames[pfn].mapcount += 1


# --------------------------------------------------------------------------------- teardown


def release(machine: Machine, space: AddressSpace, *, live: AddressSpace | None = None) -> None:
    """Let one user of an address space go; the last one tears it down. `live`: see `tear_down`."""
    space.users -= 1
    if live and machine.has("exec-of-clone-tears-down-sharer"):  # planted: exec asks nobody who else works in it
        space.users = 0
    if not live and machine.has("clone-vm-exit-frees"):  # planted: nor does exit
        space.users = 0
    if space.users == 0:
        tear_down(machine, space, live=live)


def tear_down(machine: Machine, space: AddressSpace, *, live: AddressSpace | None = None) -> None:
    """Drop all that an address space holds, tables included. A second call does nothing.

    `live` is the address space that exec has just put in its place.
    """
    if space.root is None:
        return
    if machine.has("no-vm-drop"):  # planted: the destructor is commented out
        return
    if machine.has("exit-keeps-promise"):  # planted: only munmap gives back what was set apart for a mapping
        machine.promised_to_nobody += space.size
    _drop_tables(machine, space.root, TOP)
    space.vmas.carve(0, 1 << 36)
    if not machine.has("exit-leaks-shared-memory"):  # planted: only munmap asks whether anybody maps it still
        machine.files.forget_unmapped(at_exit=True)
    root = space.root
    if live and live.root is not None and machine.has("exec-teardown-frees-live-tables"):
        root = live.root  # planted: the root is looked up in the process, where the new one is by now
    machine.tables.free_table(root)
    if not machine.has("double-free-root"):  # planted: the field still names the freed root
        space.root = None


def _drop_tables(machine: Machine, table: int, level: int) -> None:
    """Drop everything below a table, and not the table itself."""
    for _, entry in machine.tables.entries(table, bits=PRESENT | SWAPPED):
        if level == 0 and entry & SWAPPED:
            if not machine.has("swap-exit-leaks-slots"):  # planted: what is not present is nothing
                let_go(machine, pfn_of(entry))
            continue
        if level == 0:
            _drop_leaf(machine, pfn_of(entry))
            continue
        if entry & HUGE:
            for pfn in frames_to_drop(machine, entry):
                _drop_leaf(machine, pfn)
            continue
        _drop_tables(machine, pfn_of(entry), level - 1)
        if not machine.has("leak-page-tables"):  # planted: only the root is freed
            machine.tables.free_table(pfn_of(entry))


def _drop_leaf(machine: Machine, pfn: int) -> None:
    if pfn == machine.zero_pfn:
        return
    frame = machine.frames[pfn]
    frame.mapcount -= 1
    left = machine.frames.drop(pfn)
    if machine.has("free-cached-pages") and frame.cached and frame.mapcount == 0:
        left = 0  # planted: the page cache's own hold is not counted
    if left == 0 and not machine.has("dec-only-teardown"):  # planted: counts drop, nothing is freed
        machine.frames.free(pfn)
        frame.zeroed = machine.has("teardown-frees-as-zeroed")  # planted: whoever takes it need not zero it
