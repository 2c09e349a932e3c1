"""Page faults: what is not there yet is brought in, what is shared is copied before it is written.

::

    no VMA ─────────────────────────────────────────────────────────> SIGSEGV MAPERR
    entry absent ── the VMA forbids ────────────────────────────────> SIGSEGV ACCERR
                 ── read:  zero page, or the frame in the page cache ──> mapped, COW if writable
                 ── write: a zeroed frame, or a copy of the cache's ───> mapped, WRITABLE
                 ── shared mapping: the cache's frame itself ──────────> mapped, WRITABLE if the VMA is
                 ── behind the end of the file ───────────────────────> SIGBUS ADRERR
    entry SWAPPED ─ the VMA allows ───────────────────────────────────> brought back with COW, and as below (see `swap`)
    entry present ─ it permits (the TLB was behind) ────────────────> again
                  ─ write, COW ── shared mapping ────────────────────> WRITABLE
                               ── the frame is ours alone ──────────> WRITABLE           (reuse)
                               ── others hold it ───────────────────> a copy, WRITABLE   (break CoW)
                  ─ otherwise ──────────────────────────────────────> SIGSEGV ACCERR
"""

from __future__ import annotations

from harness.model_guest.entries import install, live_root, own_bits, readable_bits
from harness.model_guest.huge_pages import copies_block, demand_huge, reuses_block
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import COW, DIRTY, PRESENT, SWAPPED, USER, WRITABLE, entry_of, permits, pfn_of
from harness.model_guest.prefault import fault_around
from harness.model_guest.swap import swap_in
from harness.model_guest.trouble import Panic, Segfault, Stuck
from harness.model_guest.vmas import GROWS_DOWN, Vma
from harness.program.outcome import Code
from harness.program.units import PAGE_SIZE, Prot

MAX_FAULTS = 64
"""Faults that one access may take before it counts as endless; a sound kernel needs one."""


# ------------------------------------------------------------------------- the CPU's side


def touch(machine: Machine, space: AddressSpace, vpn: int, *, write: bool) -> int:
    """Translate one access to `vpn` as the CPU does: TLB, tables, and the fault handler on a miss.

    Returns: the frame number. Raises: Segfault, OutOfMemory, Panic; Stuck where it faults without end.
    """
    for _ in range(MAX_FAULTS):
        pfn = translate(machine, space, vpn, write=write)
        if pfn is not None:
            return pfn
        machine.tlb.forget(vpn)
        handle_fault(machine, space, vpn, write=write)
        machine.minor_faults += 1
    raise Stuck(f"one access took {MAX_FAULTS} faults")


def translate(machine: Machine, space: AddressSpace, vpn: int, *, write: bool = False) -> int | None:
    """Translate without faulting. Returns the frame number, None where the access would fault.

    The first store through an entry marks it as dirty, in the tables.
    """
    entry = machine.tlb.get(vpn)
    marks = DIRTY if write else 0
    if not permits(entry, write=write) or entry & marks != marks:
        entry = machine.tables.lookup(live_root(space), vpn)
        if not permits(entry, write=write):
            return None
        if entry & marks != marks:
            entry |= marks
            machine.tables.store(live_root(space), vpn, entry)
        machine.tlb.remember(vpn, entry)
    return pfn_of(entry)


# ---------------------------------------------------------------------- the kernel's side


def handle_fault(machine: Machine, space: AddressSpace, vpn: int, *, write: bool) -> None:
    """Make a faulting access possible. Raises Segfault where it is forbidden, OutOfMemory, Panic."""
    vma = space.vmas.touched(vpn, machine.room(space))
    if vma is None:
        # planted: every SIGSEGV has the same code
        raise Segfault(Code.ACCERR if machine.has("segv-says-accerr") else Code.MAPERR)
    entry = machine.tables.lookup(live_root(space), vpn)
    if entry & SWAPPED:
        _bring_back(machine, space, vma, vpn, write=write)
    elif not entry & PRESENT:
        page = vma.file_page(vpn)
        # planted: the file is asked for the page, and the protection for the right to have it
        if (
            machine.has("sigbus-before-protection")
            and vma.file is not None
            and page is not None
            and not vma.file.reaches(page)
        ):
            raise Segfault(Code.ADRERR)
        if not vma.prot & Prot.W if write else not vma.prot:
            raise Segfault(Code.ACCERR)
        _demand(machine, space, vma, vpn, write=write)
    elif permits(entry, write=write):
        return  # the tables allow it already: a stale TLB entry, gone by now
    elif write and entry & COW:
        _write_to_cow(machine, space, vma, vpn, entry)
    elif write and entry & USER and machine.has("mprotect-loops"):
        return  # planted: a store to a read-only page is retried instead of signalled
    else:
        raise Segfault(Code.ACCERR)


def _bring_back(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, *, write: bool) -> None:
    """Bring a page in from swap, and let a store have it, in one fault. Raises Segfault, OutOfMemory, Panic."""
    if not vma.prot & Prot.W if write else not vma.prot:
        raise Segfault(Code.ACCERR)
    swap_in(machine, space, vma, vpn, write=write)
    entry = machine.tables.lookup(live_root(space), vpn)
    if write and entry & COW:
        _write_to_cow(machine, space, vma, vpn, entry)


def force_fault(machine: Machine, space: AddressSpace, vpn: int, *, write: bool = True) -> int:
    """Make a mapped page ready for a store that its protection may forbid. Returns its frame, the process's own.
    (Not so where a fault says that the page is asked for as if for a load.)

    The entry gets no more rights than the protection gives. Raises OutOfMemory, Panic.
    """
    vma = space.vmas.find(vpn)
    if vma is None:
        raise Panic("a store is forced to where nothing is mapped")
    if machine.tables.lookup(live_root(space), vpn) & SWAPPED:
        swap_in(machine, space, vma, vpn, write=write)
    entry = machine.tables.lookup(live_root(space), vpn)
    pfn = pfn_of(entry)
    if not entry & PRESENT:
        _demand(machine, space, vma, vpn, write=write)
    elif not write:
        pass
    elif not entry & WRITABLE and not _is_ours_alone(machine, pfn):
        rights = Prot.R | Prot.W if machine.has("force-grants-write") else vma.prot  # planted: as if a store had asked
        install(machine, space, vpn, _copy(machine, vma, vpn, pfn), own_bits(rights))
        _let_go_of_old(machine, space, pfn)
    elif not entry & WRITABLE:
        machine.tables.store(live_root(space), vpn, entry_of(pfn, own_bits(vma.prot)))
    entry = machine.tables.lookup(live_root(space), vpn)
    if write:
        machine.tables.store(live_root(space), vpn, entry | DIRTY)
    machine.tlb.forget(vpn)
    return pfn_of(entry)


def _demand(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, *, write: bool) -> None:
    """Bring in a page that was never touched."""
    file, file_page = vma.file, vma.file_page(vpn)
    if file is not None and file_page is not None:
        if machine.has("file-offset-wraps"):  # planted: nine bits of it are kept, as of an index into a page table
            file_page &= 0x1FF
        if not file.reaches(file_page) and not machine.has("sigbus-missing"):  # planted: any page is brought in
            raise Segfault(Code.ADRERR)
        is_hole = not write and vma.shared and file.lookup(file_page) is None and file.is_in_memory
        if is_hole and machine.has("hole-is-zero-page"):  # planted: as if it were memory of the process's own
            install(machine, space, vpn, machine.zero_pfn, readable_bits(vma.prot))
            return
        _demand_file(machine, space, vma, vpn, file.page(file_page), write=write)
    elif write and demand_huge(machine, space, vma, vpn):
        pass
    elif write or machine.has("load-takes-frame"):  # planted: nobody asks what the page is wanted for
        pfn = machine.frames.take()
        install(machine, space, vpn, pfn, own_bits(vma.prot))
        if vma.flags & GROWS_DOWN and machine.has("stack-growth-leaks"):  # planted: growing holds it, and so does the entry
            machine.frames.get(pfn)
    else:
        install(machine, space, vpn, machine.zero_pfn, readable_bits(vma.prot))
        is_next_absent = not machine.tables.lookup(live_root(space), vpn + 1) & PRESENT
        if is_next_absent and vpn + 1 < vma.end and machine.has("load-brings-neighbour"):  # planted: it comes along
            install(machine, space, vpn + 1, machine.zero_pfn, readable_bits(vma.prot))


def _demand_file(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, source: int, *, write: bool) -> None:
    if vma.shared and (write or not machine.has("shared-write-lost")):  # planted: what was read first is private
        machine.frames.get(source)
        install(machine, space, vpn, source, own_bits(vma.prot))
        return
    if write and not _is_ours_alone(machine, source):
        pfn = _copy(machine, vma, vpn, source)
        install(machine, space, vpn, pfn, own_bits(vma.prot))
        return
    machine.frames.get(source)
    bits = own_bits(vma.prot) if write else readable_bits(vma.prot)
    install(machine, space, vpn, source, bits)
    if not write:
        fault_around(machine, space, vma, vpn)


# ------------------------------------------------------------------------ break CoW, or reuse

_NOT_SHARED = {"shared-becomes-private", "shared-write-lost", "hole-is-zero-page"}
"""The faults that leave CoW entries in shared memory."""


def _write_to_cow(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, entry: int) -> None:
    """Give a process that may write, but has a CoW entry, a frame that it can write to."""
    pfn = pfn_of(entry)
    if vma.shared and not machine.planted & _NOT_SHARED:
        machine.tables.store(live_root(space), vpn, entry & ~COW | WRITABLE)
        return
    huge = machine.tables.huge_at(live_root(space), vpn)
    if huge and (copies_block(machine, space, vpn, huge) or reuses_block(machine, space, vpn, huge)):  # planted: see there
        machine.tlb.flush()
        return
    is_wasteful = huge and machine.has("huge-sole-owner-copies")  # planted: of a huge page nobody asks who else has it
    if _may_reuse(machine, pfn) and not is_wasteful:
        if machine.has("sole-owner-stays-readonly"):  # planted: count 1 is left as it is
            return
        machine.tables.store(live_root(space), vpn, entry & ~COW | WRITABLE)
        return
    copy = _copy(machine, vma, vpn, pfn)
    bits = PRESENT | USER | WRITABLE
    if machine.has("two-faults-per-write"):  # planted: the copy is mapped for reading, with COW
        bits = PRESENT | USER | COW
    install(machine, space, vpn, copy, bits)
    machine.tlb.forget(vpn)
    _let_go_of_old(machine, space, pfn)


def _may_reuse(machine: Machine, pfn: int) -> bool:
    frame = machine.frames[pfn]
    if machine.has("cow-shares") and frame.anonymous:  # planted: nobody asks who else holds it
        return True
    if machine.has("zero-page-is-written") and pfn == machine.zero_pfn:  # planted: the zero page is nobody's
        return True
    if machine.has("sole-owner-always-copies"):  # planted: the count is never looked at
        return False
    return _is_ours_alone(machine, pfn)


def _is_ours_alone(machine: Machine, pfn: int) -> bool:
    """Tell whether the one entry that is being looked at is all that holds the frame."""
    frame = machine.frames[pfn]
    if machine.has("file-private-not-cow") and frame.cached:  # planted: the cache's frame is written
        return True
    holders = frame.refcount
    fixed = machine.fixed
    if fixed and fixed.pfn == pfn and fixed.is_held and not machine.has("cow-copies-fixed-buffer"):
        # planted: the buffer's hold is taken for one of somebody else; but no fork has shared the frame since it is one, so
        # that whoever else holds it has taken it of this entry
        holders = frame.mapcount
    if machine.has("cow-ignores-pins"):  # planted: only those who map the frame are asked for
        holders = frame.mapcount
    return frame.anonymous and holders == 1


def _copy(machine: Machine, vma: Vma, vpn: int, source: int) -> int:
    """Copy a frame. Returns the copy, held once. Raises OutOfMemory."""
    frames = machine.frames
    pfn = frames.take()
    size = PAGE_SIZE
    if machine.has("cow-copies-part"):  # planted: the copy loop stops in the middle
        size = PAGE_SIZE // 2
    if machine.has("cow-copies-part-tail"):  # planted: the last 64 bytes, one cache line, are left out
        size = PAGE_SIZE - 64
    if source != machine.zero_pfn:  # the frame is zeroed already
        frames[pfn].data[:size] = frames[source].data[:size]
    file_page = vma.file_page(vpn)
    if machine.has("cache-poisoned") and vma.file is not None and file_page is not None and frames[source].cached:
        # planted: the frame that is about to be written takes the place of the file's page
        frames.get(pfn)
        vma.file.insert(file_page, pfn)
    return pfn


def _let_go_of_old(machine: Machine, space: AddressSpace, pfn: int) -> None:
    """Drop what the overwritten entry held."""
    if pfn == machine.zero_pfn:
        return
    machine.count_rss(space, pfn, -1)
    machine.frames[pfn].mapcount -= 1
    if not machine.has("cow-keeps-old-ref"):  # planted: the old frame keeps the reference
        machine.frames.put(pfn)
