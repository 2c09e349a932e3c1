"""Entries of page tables: the bits that a page gets, and frames put behind them, counted."""

from __future__ import annotations

from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import COW, PRESENT, USER, WRITABLE, entry_of
from harness.model_guest.trouble import OutOfMemory, Panic
from harness.program.units import Prot


def live_root(space: AddressSpace) -> int:
    """Give the root of an address space in use. Panics where it has been torn down."""
    if space.root is None:
        raise Panic("an address space is used after its teardown")
    return space.root


def own_bits(prot: Prot) -> int:
    """Give the bits of a page whose frame is the process's own, as its protection allows."""
    if not prot:
        return PRESENT
    return PRESENT | USER | (WRITABLE if prot & Prot.W else 0)


def readable_bits(prot: Prot) -> int:
    """Give the bits of a page that may be written only after a look at its frame; without protection it may not be read."""
    if not prot:
        return PRESENT
    return PRESENT | USER | (COW if prot & Prot.W else 0)


def install(machine: Machine, space: AddressSpace, vpn: int, pfn: int, bits: int) -> None:
    """Map a frame; the caller's hold of it becomes the entry's, or is dropped where memory runs out."""
    counted = pfn != machine.zero_pfn
    try:
        machine.tables.store(live_root(space), vpn, entry_of(pfn, bits))
    except OutOfMemory:
        if counted:
            machine.frames.put(pfn)
        raise
    if counted:
        machine.frames[pfn].mapcount += 1
        machine.count_rss(space, pfn, 1)


def map_fresh(machine: Machine, space: AddressSpace, vpn: int, *, as_it_is: bool = False) -> int:
    """Map a frame of its own, writable, without a fault; zeroed, unless it is taken `as_it_is`. Returns the frame."""
    pfn = machine.frames.take(as_it_is=as_it_is)
    install(machine, space, vpn, pfn, PRESENT | USER | WRITABLE)
    return pfn


def duplicate(machine: Machine, pfn: int) -> int:
    """Copy a frame of anonymous memory. Returns the copy, held and mapped once. Raises OutOfMemory."""
    copy = machine.frames.take()
    machine.frames[copy].data[:] = machine.frames[pfn].data
    machine.frames[copy].mapcount = 1
    return copy
