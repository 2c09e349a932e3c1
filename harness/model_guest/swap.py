"""Swap: where pages go that are paged out, and from where they come back.

::

    MADV_PAGEOUT   the frame's bytes go to a slot, the entry names the slot (SWAPPED, and not PRESENT), the frame is freed
    fork           the child's entry names the slot, too: one holder more
    a touch        a frame gets the slot's bytes; as long as others hold the slot, the frame is in the swap cache, which
                   holds it as well, and whoever of them touches the page is given the same frame
    the last one   that touches the page, or lets go of it, frees the slot, and the swap cache lets go of the frame

So what holds a page is counted in two places: entries that are PRESENT with the frame, those that are SWAPPED with the
slot. A frame in the swap cache is held by that, too: nobody stores to it in place, for others are to find its bytes.

Source: mm/swapfile.c (swap_map, the counts of the slots), mm/swap_state.c (the swap cache), do_swap_page.
"""

from __future__ import annotations

from harness.model_guest.entries import install, live_root, own_bits, readable_bits
from harness.model_guest.features import Feature
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import COW, DIRTY, PRESENT, SWAPPED, USER, WRITABLE, entry_of, pfn_of
from harness.model_guest.vmas import Vma
from harness.program.units import PAGE_SIZE


def may_swap(machine: Machine, pfn: int) -> bool:
    """Tell whether a page can go to swap: one entry maps it, nobody else holds it but the swap cache, and there is room."""
    frame = machine.frames[pfn]
    slot = machine.swap.slot_of(pfn)
    if Feature.SWAP not in machine.features or not frame.anonymous or frame.mapcount != 1:
        return False
    is_taken = frame.refcount > frame.mapcount + (slot is not None)
    if is_taken and not machine.has("swap-takes-fixed-buffer"):  # planted: only those who map it are asked for
        return False
    return slot is not None or machine.swap.free_count > 0


def swap_out(machine: Machine, space: AddressSpace, vpn: int, entry: int) -> None:
    """Put the page behind an entry into swap, and free its frame."""
    pfn, swap = pfn_of(entry), machine.swap
    number = swap.slot_of(pfn)
    if number is None:
        number = swap.take(_written(machine, pfn))
    swap[number].count += 1
    machine.tables.store(live_root(space), vpn, entry_of(number, SWAPPED | entry & (USER | WRITABLE | COW)))
    machine.tlb.forget(vpn)
    machine.count_rss(space, pfn, -1)
    machine.frames[pfn].mapcount -= 1
    machine.frames.put(pfn)
    _leave_cache(machine, number)


def _leave_cache(machine: Machine, number: int) -> None:
    """Let the swap cache let go of the frame that it has for a slot, if it has one."""
    cached = machine.swap.take_from_cache(number)
    if cached is not None:
        machine.frames.put(cached)


def _written(machine: Machine, pfn: int) -> bytes:
    data = bytes(machine.frames[pfn].data)
    if machine.has("swap-writes-half"):  # planted: the disk is told of half a page
        data = data[: PAGE_SIZE // 2] + bytes(PAGE_SIZE // 2)
    if machine.has("swap-writes-once"):  # planted: a page that has been in swap is there still, as it was
        return machine.swap.written.get(pfn, data)
    return data


def swap_in(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, *, write: bool) -> None:
    """Bring a page back, for reading; a store has to ask then who else has it. Raises OutOfMemory."""
    entry = machine.tables.lookup(live_root(space), vpn)
    number = pfn_of(entry)
    pfn = _cached_frame(machine, number)
    bits = readable_bits(vma.prot) | DIRTY  # it was stored to, some time or other, which MADV_FREE has to know
    if write and machine.has("swap-in-takes-shared"):  # planted: who brings it back has it for himself
        bits = own_bits(vma.prot) | DIRTY
    if machine.has("swap-keeps-protection"):  # planted: what the entry allowed when the page went is what it allows
        bits = PRESENT | DIRTY | entry & USER | (COW if entry & (WRITABLE | COW) else 0)
    if machine.has("swap-in-comes-clean"):  # planted: the entry is made of the protection and the frame alone
        bits &= ~DIRTY
    install(machine, space, vpn, pfn, bits)
    if not machine.has("swap-in-keeps-slot"):  # planted: the slot keeps the count of the entry that named it
        let_go(machine, number, at_once=machine.has("swap-in-frees-slot"))  # planted: nobody asks who else names it


def _cached_frame(machine: Machine, number: int) -> int:
    """Give the frame that has a slot's bytes, held once more. Raises OutOfMemory."""
    slot = machine.swap[number]
    if slot.pfn is not None:
        machine.frames.get(slot.pfn)
        return slot.pfn
    pfn = machine.frames.take()
    machine.frames[pfn].data[:] = slot.data
    machine.swap.written[pfn] = slot.data
    if not machine.has("swap-in-copies-each"):  # planted: there is no swap cache, and each gets a frame
        machine.swap.put_in_cache(number, pfn)
        machine.frames.get(pfn)
    return pfn


def let_go(machine: Machine, number: int, *, at_once: bool = False) -> None:
    """Count one entry less that names a slot; the last one frees it (`at_once`: any). So does the swap cache its frame."""
    slot = machine.swap[number]
    slot.count -= 1
    if slot.count == 0 or at_once:
        machine.swap.free(number)
        _leave_cache(machine, number)
