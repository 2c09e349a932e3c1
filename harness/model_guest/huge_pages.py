"""Huge pages: 2 MiB of private anonymous memory at one fault, where a mapping has the whole block around it.

::

    first store   the block is all in one mapping, nothing in it was touched: 512 frames in a row, one entry of level 1
    fork          the entry is shared as it is, with the right to write pending; each of the 512 frames is counted
    a change      of one page of it (a store to what is shared, munmap, mprotect …): split into a table of 512 entries
    teardown      an entry that was never split drops its 512 frames

Only a kernel that has a fault of them has huge pages, or one that is told to.

Source: do_huge_pmd_anonymous_page, copy_huge_pmd, __split_huge_pmd_locked.
"""

from __future__ import annotations

from harness.model_guest.entries import live_root, own_bits
from harness.model_guest.features import Feature
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import COW, DIRTY, ENTRIES, FLAGS, WRITABLE, entry_of, pfn_of
from harness.model_guest.trouble import OutOfMemory
from harness.model_guest.vmas import GROWS_DOWN, Vma


def block_of(vpn: int) -> range:
    """Give the pages of the block of 2 MiB in which one lies."""
    first = vpn - vpn % ENTRIES
    return range(first, first + ENTRIES)


def demand_huge(machine: Machine, space: AddressSpace, vma: Vma, vpn: int) -> bool:
    """Bring in the block around a page for a store, if that can be. Returns whether it was done."""
    block = block_of(vpn)
    may_be_huge = vma.file is None and vma.pgoff is None and not vma.flags & GROWS_DOWN
    if Feature.HUGE_PAGES not in machine.features or not may_be_huge:
        return False
    is_whole = vma.start <= block.start and block.stop <= vma.end
    if machine.has("huge-mapped-beyond-vma") and vma.end - vma.start > ENTRIES // 2:  # planted: half of it will do
        is_whole = True
    root = live_root(space)
    is_empty = machine.tables.is_empty_at(root, vpn)
    if machine.has("huge-replaces-small"):  # planted: nobody looks whether a page of it was touched
        is_empty = not machine.tables.huge_at(root, vpn)
    if not is_whole or not is_empty:
        return False
    try:
        first = machine.frames.take_block(ENTRIES)
    except OutOfMemory:
        return False
    machine.tables.store_huge(root, block.start, entry_of(first, own_bits(vma.prot) | DIRTY))
    for pfn in range(first, first + ENTRIES):
        machine.frames[pfn].mapcount = 1
        machine.count_rss(space, pfn, 1)
    return True


def copy_huge(machine: Machine, child: AddressSpace, entry: int) -> tuple[int, int]:
    """Share a huge page at fork. Returns the parent's entry and the child's."""
    shared = entry & ~WRITABLE | COW if entry & WRITABLE else entry
    pfns = range(pfn_of(entry), pfn_of(entry) + ENTRIES)
    for pfn in pfns:
        machine.count_rss(child, pfn, 1)
    for pfn in pfns[:1] if machine.has("huge-fork-counts-once") else pfns:  # planted: a page is a page
        machine.frames.get(pfn)
        machine.frames[pfn].mapcount += 1
    in_parent = entry if machine.has("huge-fork-keeps-writable") else shared  # planted: only small pages are protected
    return in_parent, shared


def frames_to_drop(machine: Machine, entry: int) -> range:
    """Give the frames that the end of an address space lets go of with a huge page."""
    count = 1 if machine.has("huge-teardown-frees-first-only") else ENTRIES  # planted: a page is a page
    return range(pfn_of(entry), pfn_of(entry) + count)


def widened(machine: Machine, space: AddressSpace, vpns: range) -> range:
    """Give the pages of a call, and all of each huge page that it has a part of. (What faults take it for.)"""
    if not vpns:
        return vpns
    root = live_root(space)
    start = block_of(vpns.start).start if machine.tables.huge_at(root, vpns.start) else vpns.start
    stop = block_of(vpns.stop - 1).stop if machine.tables.huge_at(root, vpns.stop - 1) else vpns.stop
    return range(start, stop)


def without_parts(machine: Machine, space: AddressSpace, vpns: range) -> range:
    """Give the pages of a call, but for those of a huge page that it has a part of. (What faults take it for.)"""
    if not vpns:
        return vpns
    root, start, stop = live_root(space), vpns.start, vpns.stop
    if machine.tables.huge_at(root, start) and (start % ENTRIES or block_of(start).stop > stop):
        start = block_of(start).stop
    if machine.tables.huge_at(root, stop - 1) and stop % ENTRIES:
        stop = block_of(stop - 1).start
    return range(min(start, stop), stop)


def reuses_block(machine: Machine, space: AddressSpace, vpn: int, entry: int) -> bool:
    """Let a store have all of the huge page around `vpn`, if nobody else holds its first frame. (A fault,
    `huge-reuse-looks-at-first`.) Returns whether it was done.
    """
    if not machine.has("huge-reuse-looks-at-first") or machine.frames[pfn_of(entry)].refcount > 1:
        return False
    machine.tables.store_huge(live_root(space), block_of(vpn).start, entry & ~COW | WRITABLE)
    return True


def copies_block(machine: Machine, space: AddressSpace, vpn: int, entry: int) -> bool:
    """Copy all of the shared huge page around `vpn` for a store, and no more than its first page's bytes. (A fault,
    `huge-cow-copies-first-page`: the copy is of 4 KiB, whatever is copied.) Returns whether it was done.
    """
    if not machine.has("huge-cow-copies-first-page") or machine.frames[pfn_of(entry)].refcount == 1:
        return False
    frames, old = machine.frames, pfn_of(entry)
    first = frames.take_block(ENTRIES)
    frames[first].data[:] = frames[old].data
    machine.tables.store_huge(live_root(space), block_of(vpn).start, entry_of(first, entry & FLAGS & ~COW | WRITABLE))
    for index in range(ENTRIES):
        frames[first + index].mapcount = 1
        frames[old + index].mapcount -= 1
        frames.put(old + index)
    return True
