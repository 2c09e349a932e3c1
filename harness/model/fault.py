"""What happens when a process touches memory: access check, demand fault, copy-on-write break.

::

    touch ── entry lets it through ─────────────────────────────▶ done, without the kernel
      └───── fault ─┬ no entry ─┬─ load ───▶ zero page, or file page      (read-only, shared)
                    │           ├─ store ──▶ fresh frame, its own         (zeroes, or the file's bytes)
                    │           └─ either, in a shared mapping ──▶ the file's page itself
                    ├ in swap ──▶ brought back, to the frame of all who have it there; then as below     (see `swap`)
                    └ read-only entry, store
                                ├─ shared mapping ─▶ now writable         (same frame: it is meant for all)
                                └─ private: break copy-on-write
                                   ├─ sole owner ──▶ reuse                (same frame, now writable)
                                   └─ others too ──▶ copy                 (they keep the old frame)

Whether an access is allowed is a question to the VMA, and to the size of the file behind it (`refusal`): not to
the entry, nor to what happened before. An entry is only ever stricter, and a fault makes good for it.
"""

from __future__ import annotations

from harness.model.counts import fixed, free_unheld, held, pins
from harness.model.frame import OWN, ZEROES, Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import BITS, PTE
from harness.model.process import Process
from harness.model.semantics import Choice, Semantics, SoleOwner
from harness.model.stack import vma_for
from harness.model.swap import swap_in
from harness.model.vma import Vma
from harness.program.image import SEGMENT_OF
from harness.program.ops import Access
from harness.program.outcome import Code, Faulted, Signal
from harness.program.units import Address, Prot, is_wide

WRITE = int(Prot.W)

# ------------------------------------------------------------------------------ may it?


def may_read(semantics: Semantics, prot: Prot) -> bool:
    """Tell whether a page of this protection can be read.

    Source: access_error and vma_is_accessible (x86-64: any of read, write and exec makes it readable).
    """
    bits = int(prot)
    return bool(
        bits & Prot.R or (bits & Prot.W and semantics.write_implies_read) or (bits & Prot.X and semantics.exec_implies_read)
    )


def refusal(machine: Machine, process: Process, at: Address, access: Access) -> Faulted | None:
    """Give the signal that touching `at` raises, or None where it is allowed. A stack grows by the attempt alone.

    MAPERR where no VMA is, ACCERR where the VMA forbids it (PKUERR where its key does), and then ADRERR (SIGBUS) where the
    page lies wholly behind the end of its file, in private mappings too; the address is that of the byte touched.
    Source: do_user_addr_fault (bad_area, bad_area_access_error), do_sigbus; shmem_get_folio and filemap_fault, which
    look at i_size; mmap(2), sigaction(2) on si_code.
    """
    vma = vma_for(machine, process, at.vpn)
    if vma is None:
        return Faulted(Signal.SIGSEGV, Code.MAPERR, at)
    allowed = vma.prot & WRITE if access is Access.STORE else may_read(machine.semantics, vma.prot)
    if not allowed:
        return Faulted(Signal.SIGSEGV, Code.PKUERR if has_key(machine.semantics, vma.prot) else Code.ACCERR, at)
    if at.vpn in process.memory.doubtful:
        machine.end_of_knowledge("what is left of a page that its file has lost is not said", also_of_answer=True)
    return Faulted(Signal.SIGBUS, Code.ADRERR, at) if is_behind_end(machine, vma, at.vpn) else None


def kernel_refusal(machine: Machine, process: Process, at: Address, access: Access) -> Faulted | None:
    """Do as `refusal`, for an access of the kernel on the process's behalf: it may look at the protection alone."""
    refused = refusal(machine, process, at, access)
    vma = process.memory.vmas.find(at.vpn)
    if refused is None and access is Access.LOAD and vma is not None and not vma.prot & Prot.R:
        return Faulted(Signal.SIGSEGV, Code.ACCERR, at) if machine.semantics.kernel_wants_read else None
    return refused


def has_key(semantics: Semantics, prot: Prot) -> bool:
    """Tell whether memory of this protection has the key that forbids all but to execute it."""
    return prot == Prot.X and semantics.exec_only_by_key and not semantics.exec_implies_read


def is_behind_end(machine: Machine, vma: Vma, vpn: int) -> bool:
    """Tell whether page `vpn` of `vma` lies wholly behind the end of the file: there is nothing to map, then."""
    return vma.file is not None and not machine.cache.reaches(vma.file, vma.file_page(vpn))


REFUSED = "sigaction(2): SIGSEGV (SEGV_MAPERR, SEGV_ACCERR) or SIGBUS (BUS_ADRERR), and si_addr"
"""The clause of an access that is refused."""


def note_refusal(machine: Machine, refused: Faulted) -> None:
    """Count a refused access for coverage."""
    if refused.signal is Signal.SIGBUS:
        machine.reach["fault.sigbus"] += 1
    else:
        machine.reach["fault.segv.maperr" if refused.code is Code.MAPERR else "fault.segv.accerr"] += 1


# ------------------------------------------------------------------------------ touch


def touch(machine: Machine, process: Process, vpn: int, access: Access) -> Frame:
    """Do an *allowed* access to page `vpn`, with the fault that it may take; give the frame behind it.

    After a store's touch its bytes may be changed in place: the frame is the process's own, or it is the file's and
    the mapping is shared.
    """
    pte = process.memory.page_table.lookup(vpn)
    if access is Access.LOAD:
        return _touch_to_load(machine, process, vpn, pte)
    return _touch_to_store(machine, process, vpn, pte)


def take(machine: Machine, process: Process, vpn: int, access: Access) -> Frame:
    """Have the kernel take page `vpn` for itself, with the fault that it may take; give the frame behind it.

    A page that is there is found in the table by software, which notes the use with the frame and not in the entry: where
    the access flag is clear, the process's next touch takes its fault still, and so does its next store where software
    sets the dirty flag, and the entry of a shared page, which grants the store, has none yet.

    Source: gup_pte_range, follow_page_pte (FOLL_TOUCH: mark_page_accessed, set_page_dirty), can_follow_write_pte;
    populate_vma_page_range and faultin_vma_page_range, which go the same way.
    """
    pte = process.memory.page_table.lookup(vpn)
    if pte is None:
        return touch(machine, process, vpn, access)
    is_old = pte.old
    is_clean = access is Access.STORE and _is_clean_for_software(machine, _vma(process, vpn), pte)
    pte.write_pending |= is_clean  # else the kernel meets a fault of its own
    was_freed = pte.writable and pte.lazy and access is Access.STORE and machine.semantics.forked_entries_are_old
    frame = touch(machine, process, vpn, access)
    pte.old = is_old or was_freed
    if is_clean:
        pte.writable, pte.write_pending = False, True
    return frame


def _is_clean_for_software(machine: Machine, vma: Vma, pte: PTE) -> bool:
    """Tell whether an entry may be read-only for nothing but the dirty flag: `shared_load_grants_write`, on arm64."""
    return vma.shared and bool(vma.prot & WRITE) and not pte.writable and machine.semantics.forked_entries_are_old


def _touch_to_load(machine: Machine, process: Process, vpn: int, pte: PTE | None) -> Frame:
    if pte is None:
        return demand_fault(machine, process, vpn, Access.LOAD).frame
    if pte.optional or pte.old:
        machine.count_faults(least=0)
    if may_vanish(machine, pte):
        machine.count_faults(least=0)
    if pte.swapped:
        swap_in(pte, is_sole=is_owned(machine, pte.frame), prot=_vma(process, vpn).prot)
    pte.optional = pte.prefaulted = pte.old = False
    return pte.frame


def _touch_to_store(machine: Machine, process: Process, vpn: int, pte: PTE | None) -> Frame:
    if pte is None:
        return demand_fault(machine, process, vpn, Access.STORE).frame
    pte.prefaulted = False
    is_clean = pte.writable and (pte.old or (pte.lazy and machine.semantics.forked_entries_are_old))
    may_be_gone, pte.lazy, pte.old = may_vanish(machine, pte), False, False
    if is_clean and not may_be_gone:  # the fault in which software sets the access flag, or the dirty flag
        machine.count_faults(least=0)
    if pte.guessed and pins(machine, pte.frame):
        machine.end_of_knowledge("a page is pinned that the kernel may have brought in before a fork, or not")
    if pte.swapped:  # one fault more, where the page comes back before anybody asks who may store to it
        machine.count_faults(least=0)
    if not pte.writable:
        break_ = _grant_shared_write if _vma(process, vpn).shared else break_cow
        pte = break_(machine, process, vpn, pte)
    if may_be_gone:
        machine.count_faults(least=0)
        for pin in machine.pins:
            if pin.frame is pte.frame:
                pin.before = (*pin.before, pte.frame.contents)
        pte.frame.may_move = True
        pte.frame.add_content(ZEROES)
    return pte.frame


# ------------------------------------------------------------------------------ free to go

FREE_TO_GO = "madvise(2), MADV_FREE: until it is written to, a page has its old bytes, or the kernel has taken them"


def may_vanish(machine: Machine, pte: PTE) -> bool:
    """Tell whether the kernel may have taken the page: it was told that it may, and does not hold the frame as a buffer.

    What a buffer holds cannot be freed, so nothing is won by taking it, and the process would part from its buffer.
    Source: try_to_unmap_one, which discards a lazily freed page only where nobody but its mappers has a reference.
    """
    return pte.lazy and (machine.fixed is None or machine.fixed.frame is not pte.frame)


def readings(machine: Machine, process: Process, at: Address, length: int = 1) -> tuple[bytes, ...]:
    """Give what a process may read at `at` in a page that it has just touched: one content, or more (FREE_TO_GO)."""
    pte = process.memory.page_table.lookup(at.vpn)
    assert pte is not None, "it was touched"
    contents = (*pte.frame.contents, ZEROES) if may_vanish(machine, pte) else pte.frame.contents
    return tuple(dict.fromkeys(each[at.offset : at.offset + length] for each in contents))


def adopt_reading(machine: Machine, process: Process, at: Address, data: bytes) -> None:
    """Follow the guest, which has read `data` where more was possible."""
    pte = process.memory.page_table.lookup(at.vpn)
    assert pte is not None, "it was touched"
    kept = any(each[at.offset : at.offset + len(data)] == data for each in pte.frame.contents)
    if kept:
        pte.frame.show(at.offset, data)
    else:
        vanish(machine, process, at.vpn)


def vanish(machine: Machine, process: Process, vpn: int) -> None:
    """Let a page that was free to go be gone, and be touched again by a load."""
    pte = process.memory.page_table.unmap(vpn)
    assert pte is not None, "it was free to go"
    free_unheld(machine, [pte.frame])
    demand_fault(machine, process, vpn, Access.LOAD)


# ------------------------------------------------------------------------------ demand fault


def demand_fault(machine: Machine, process: Process, vpn: int, access: Access) -> PTE:
    """Map a page that has no entry, for the first touch of it.

    Source: do_anonymous_page; do_fault: do_read_fault, do_cow_fault and do_shared_fault.
    """
    vma = _vma(process, vpn)
    machine.count_faults(least=0 if may_be_prefaulted(machine.semantics, vma) else 1)
    machine.reach["fault.anon" if vma.file is None else "fault.file"] += 1
    if vma.file is not None and vma.shared:
        pte = _shared_entry(machine, vma, vma.file, vpn, access)
    elif access is Access.STORE:
        old = machine.zero if vma.file is None else machine.cache.frame(vma.file, vma.file_page(vpn))
        pte = _own_entry(machine, vma, machine.pool.fresh(FrameKind.ANON, old.content, old.also))
        if vma.file is not None:
            machine.reach["cow.copy"] += 1
    elif may_have_own_frame(machine.semantics, vma) and vma.file is not None:
        pte = guessed_entry(machine, vma, vpn)
    elif vma.file is not None:
        pte = PTE(machine.cache.frame(vma.file, vma.file_page(vpn)), readable=True, writable=False)
    else:
        pte = _anonymous_read(machine, vma, vpn)
    pte.readable = may_read(machine.semantics, vma.prot)  # else it was a debugger, whom the protection does not stop
    process.memory.page_table.map(vpn, pte)
    return pte


def _shared_entry(machine: Machine, vma: Vma, file: str, vpn: int, access: Access) -> PTE:
    """Make the entry that leads to the file's own page, writable if that is what is asked for, or what may be."""
    may_write = bool(vma.prot & WRITE)
    choice = machine.semantics.shared_load_grants_write
    writable = access is Access.STORE or (may_write and choice is Choice.ALWAYS)
    pending = may_write and not writable and choice is Choice.EITHER
    machine.reach["fault.shared"] += 1
    return PTE(machine.cache.frame(file, vma.file_page(vpn)), readable=True, writable=writable, write_pending=pending)


def _grant_shared_write(machine: Machine, _process: Process, _vpn: int, pte: PTE) -> PTE:
    """Handle a store that a shared mapping allows and its entry does not: there is nobody to protect from it.

    Source: do_wp_page: wp_page_shared.
    """
    machine.count_faults(least=0 if pte.write_pending else 1)
    pte.writable = True
    pte.optional = pte.write_pending = False
    return pte


def _anonymous_read(machine: Machine, vma: Vma, vpn: int) -> PTE:
    """Make the entry for a load of an untouched anonymous page: zeroes, but whose?

    Where the kernel may have brought the page in before, the load found that frame, and no zero page was needed.
    """
    may_write = bool(vma.prot & WRITE)
    choice = machine.semantics.zero_page_on_read
    if choice is Choice.ALWAYS and may_be_prefaulted(machine.semantics, vma):
        choice = Choice.EITHER
    if choice is Choice.ALWAYS:
        machine.reach["fault.zero"] += 1
        return PTE(machine.zero, readable=True, writable=False)
    if choice is Choice.NEVER:
        return PTE(machine.pool.fresh(FrameKind.ANON), readable=True, writable=may_write)
    frame = machine.pool.fresh(FrameKind.UNDETERMINED)
    if not (machine.semantics.huge_pages and is_wide(vpn)):  # else the fault may have brought a huge page
        machine.first_read = frame
    return PTE(frame, readable=True, writable=False, write_pending=may_write)


def untouched_contents(machine: Machine, vma: Vma, vpn: int) -> tuple[bytes, ...]:
    """Give what page `vpn` of `vma` may hold, 4,096 bytes each, as long as nobody wrote to it."""
    if vma.file is None:
        return machine.zero.contents
    return machine.cache.contents(vma.file, vma.file_page(vpn))


def may_be_prefaulted(semantics: Semantics, vma: Vma) -> bool:
    """Tell whether the kernel may map an untouched page of `vma` of its own accord: it has a budget for any.

    The protection does not matter: it may have been another one when the page was brought in.
    """
    if semantics.prefault_budget > 0:
        return True
    return semantics.huge_pages if vma.file is None else semantics.file_pages_may_appear


def may_have_own_frame(semantics: Semantics, vma: Vma) -> bool:
    """Tell whether a page of `vma` that was not stored to may lead to a frame of the process's own (see `prefault`)."""
    if vma.file is None:
        return may_be_prefaulted(semantics, vma)
    if vma.shared:
        return False
    return semantics.image_may_be_copied if vma.file in SEGMENT_OF else semantics.file_may_be_copied


def guessed_entry(machine: Machine, vma: Vma, vpn: int) -> PTE:
    """Make an entry for an untouched page, to a frame that stands for whatever is behind it, or will be."""
    content, *also = untouched_contents(machine, vma, vpn)
    frame = machine.pool.fresh(FrameKind.UNDETERMINED, content, tuple(also))
    return PTE(frame, may_read(machine.semantics, vma.prot), writable=False, guessed=True)


# ------------------------------------------------------------------------------ copy-on-write


def break_cow(machine: Machine, process: Process, vpn: int, pte: PTE) -> PTE:
    """Handle a store that the VMA allows and the entry does not: the heart of copy-on-write.

    The entry is read-only because somebody else may hold the frame too: another process since a fork,
    the page cache, everybody who reads zeroes. If that is so still, the writer gets a copy, and they
    keep the frame as it is. If it is so no longer, the frame is the writer's alone, and a copy would
    be waste: the entry becomes writable. Either way one fault, and the next store takes none.

    Source: do_wp_page; wp_page_reuse, wp_page_copy.
    """
    machine.count_faults(least=0 if pte.write_pending or pte.guessed else 1)
    by_count = machine.semantics.pinned_owner_write is SoleOwner.COPY and not fixed(machine, pte.frame)
    copies_pinned = by_count and pins(machine, pte.frame)
    if is_owned(machine, pte.frame) and not copies_pinned:
        return reuse(machine, process, vpn, pte)
    return copy(machine, process, vpn, pte)


def is_owned(machine: Machine, frame: Frame) -> bool:
    """Tell whether the process whose entry maps `frame` may write to it as it is: nobody else has a part in it.

    A pin is a part unless the owner itself took it: then its stores may show in the pipe, as vmsplice(2) warns for pages
    that are not a gift. Not so once the frame was shared by a fork, or where another process pinned it.

    Source: do_wp_page, PageAnonExclusive and the refcount after it; try_grab_page for what a pin adds.
    """
    return frame.kind in OWN and is_unshared(machine, frame)


def is_unshared(machine: Machine, frame: Frame) -> bool:
    """Tell whether one entry maps `frame`, and nothing else holds it but pins of its owner."""
    pinned = pins(machine, frame)
    if held(machine, frame) - pinned - fixed(machine, frame) != 1:
        return False
    in_doubt = all(pin.before for pin in machine.pins if pin.frame is frame)
    return frame.exclusive or not pinned or in_doubt


def reuse(machine: Machine, process: Process, vpn: int, pte: PTE) -> PTE:
    """Make the sole owner's entry writable; the frame `may_move` where the kernel may copy it."""
    semantics, frame = machine.semantics, pte.frame
    pinned = [pin for pin in machine.pins if pin.frame is frame]
    choice = semantics.pinned_owner_write if pinned else semantics.sole_owner_write
    if pinned and frame.doubtful_owner:
        choice = SoleOwner.EITHER  # where it is not exclusive, its owner's pin is one more holder
    if fixed(machine, frame):
        choice = SoleOwner.REUSE  # what the owner stores and what the kernel delivers meet in one frame
    if frame.kind is FrameKind.UNDETERMINED or frame.was_advised or choice is not SoleOwner.REUSE:
        frame.may_move = True
        for pin in pinned:
            pin.before = (*pin.before, frame.contents)
    frame.kind = FrameKind.ANON
    frame.exclusive = True
    frame.doubtful_owner = False
    pte.writable = bool(_vma(process, vpn).prot & WRITE)
    pte.optional = pte.write_pending = pte.guessed = pte.swapped = False
    _grant_neighbours(machine, process, vpn)
    machine.reach["cow.reuse"] += 1
    return pte


def _grant_neighbours(machine: Machine, process: Process, vpn: int) -> None:
    """Leave it open whether the pages around one that is reused may be written now, too: those of a huge page may, where
    nobody else has a part in any of them. Source: do_huge_pmd_wp_page, which reuses it as a whole.
    """
    if not (machine.semantics.huge_pages and is_wide(vpn)) or not _vma(process, vpn).prot & WRITE:
        return
    for pte in _read_only_around(process, vpn, 1 << BITS):
        if is_owned(machine, pte.frame):
            pte.write_pending = True
            pte.frame.doubtful_owner |= not pte.frame.exclusive
            pte.frame.exclusive = True


def copy(machine: Machine, process: Process, vpn: int, pte: PTE) -> PTE:
    """Give the writer a fresh frame with all 4,096 bytes of the old one, which loses one reference."""
    old = pte.frame
    fresh = _own_entry(machine, _vma(process, vpn), machine.pool.fresh(FrameKind.ANON, old.content, old.also))
    process.memory.page_table.map(vpn, fresh)
    free_unheld(machine, [old])
    _doubt_neighbours(machine, process, vpn)
    machine.reach["cow.copy"] += 1
    return fresh


def _doubt_neighbours(machine: Machine, process: Process, vpn: int) -> None:
    """Leave it open whether the pages around one that was copied were copied, too (`Semantics.copied_around`)."""
    if (around := machine.semantics.copied_around) == 1:
        return
    shared = {pte.frame for pte in _read_only_around(process, vpn, around) if pte.frame.kind in OWN}
    for _, space in machine.spaces() if shared else ():
        for pte in space.page_table.ptes():
            pte.guessed |= pte.frame in shared


def _read_only_around(process: Process, vpn: int, npages: int) -> list[PTE]:
    """List the other entries that are not writable in the aligned block of `npages` around a page, of its mapping."""
    first = vpn - vpn % npages
    vpns = _vma(process, vpn).part(first, first + npages).vpns
    entries = [process.memory.page_table.lookup(each) for each in vpns if each != vpn]
    return [pte for pte in entries if pte is not None and not pte.writable]


def _own_entry(machine: Machine, vma: Vma, frame: Frame) -> PTE:
    """Make the entry of a frame that is the process's alone; only a forced store meets a VMA that forbids stores."""
    return PTE(frame, readable=may_read(machine.semantics, vma.prot), writable=bool(vma.prot & WRITE))


def _vma(process: Process, vpn: int) -> Vma:
    vma = process.memory.vmas.find(vpn)
    assert vma is not None, "the access was checked"
    return vma
