"""fork: a child with the same memory, none of which is copied yet."""

from __future__ import annotations

from dataclasses import replace

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.frame import OWN, RECREATABLE, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.prefault import guess
from harness.model.process import Process
from harness.model.semantics import Choice
from harness.model.vma import VmaFlag, VmaList
from harness.program.ops import Fork
from harness.program.outcome import Done
from harness.program.units import Prot

_DONE = Allowed((Done(),), "fork(2): on success")


def fork(machine: Machine, op: Fork) -> Allowed:
    """Give the child all VMAs and, page by page, the same frames; take the write bit from both.

    From now on the two share each frame until one of them stores to it (`fault.break_cow`). In shared mappings
    they share for good, so there is nothing to protect and nothing that must be copied: a fault finds it.

    Source: fork(2); dup_mmap, copy_page_range, copy_present_pte.
    """
    parent = machine.process(op.process)

    # CHECKS
    machine.check_free(op.child)

    # EFFECT
    child = Process(op.child, op.process, forked_space(machine, parent.memory), limit=parent.limit)
    machine.processes[op.child] = child
    machine.reach["fork"] += 1

    # OUTCOME
    return _DONE


def forked_space(machine: Machine, parent: AddressSpace) -> AddressSpace:
    """Make a child's address space; the parent's entries lose the right to write. Source: dup_mmap."""
    if not machine.semantics.fork_copies_pages:
        guess(machine, parent)
    space = AddressSpace.empty(machine.pool)
    space.vmas = _inherited(parent.vmas)
    space.brk_start, space.brk = parent.brk_start, parent.brk
    space.doubtful = set(parent.doubtful)
    left_out = _left_out(parent.vmas)
    shared = {vpn for vma in space.vmas if vma.shared for vpn in vma.vpns}
    for vpn, pte in parent.page_table.walk():
        if vpn in left_out:
            continue
        if vpn in shared:
            copied = copy_shared_pte(machine, pte)
        else:
            copied = copy_page(machine, space, vpn, pte) or copy_present_pte(machine, pte)
        if copied is not None:
            _doubt(machine, pte, copied)
            space.page_table.map(vpn, copied)
    return space


def _doubt(machine: Machine, parents: PTE, childs: PTE) -> None:
    """Leave it open whether the two share their frame, where a fixed buffer may lie in the same huge page.

    Where pins are told from other references by their number, which page of a huge one has them is not noted, and fork
    copies them all. Source: copy_huge_pmd, which splits the page; page_maybe_dma_pinned, which asks the folio.
    """
    semantics = machine.semantics
    may_be_copied = semantics.huge_pages and semantics.fixed_buffer_references > 1 and machine.fixed is not None
    if may_be_copied and parents.frame.kind in OWN and parents.frame is childs.frame:
        parents.guessed = childs.guessed = True


def _inherited(vmas: VmaList) -> VmaList:
    """Give the child's VMAs: all but those of MADV_DONTFORK.

    Source: dup_mmap: VM_DONTCOPY.
    """
    return VmaList([vma for vma in vmas if not vma.flags & VmaFlag.NOT_FORKED])


def _left_out(vmas: VmaList) -> set[int]:
    """List the pages of which the child does not get what they hold: it does not have the VMA, or has it as new.

    The parent's entries are then left as they are. Source: dup_mmap: VM_DONTCOPY, VM_WIPEONFORK.
    """
    special = VmaFlag.NOT_FORKED | VmaFlag.WIPED_ON_FORK
    return {vpn for vma in vmas if vma.flags & special for vpn in vma.vpns}


def copy_page(machine: Machine, space: AddressSpace, vpn: int, pte: PTE) -> PTE | None:
    """Give the child a copy of a page that fork does not share; None for all others.

    Of the private page that is a fixed buffer: so the frame stays the parent's alone, and its entry as it is, and what the
    kernel delivers there reaches the parent also after its next store, which would go to another frame if this one were
    shared. And of every page that is the parent's own, where the kernel has no copy-on-write.

    Source: page_try_dup_anon_rmap, page_needs_cow_for_dma; copy_present_page.
    """
    is_fixed = machine.fixed is not None and machine.fixed.frame is pte.frame and pte.frame.kind is FrameKind.ANON
    if not is_fixed and (pte.frame.kind not in OWN or not machine.semantics.fork_copies_pages):
        return None
    vma = space.vmas.find(vpn)
    assert vma is not None, "a present page lies in a VMA"
    machine.reach["fork.copy"] += 1
    frame = machine.pool.fresh(pte.frame.kind, pte.frame.content, pte.frame.also)
    may_write = bool(vma.prot & Prot.W)
    if is_fixed:
        return PTE(frame, pte.readable, writable=may_write)
    return replace(pte, frame=frame, writable=False, write_pending=may_write)


def copy_present_pte(machine: Machine, pte: PTE) -> PTE | None:
    """Write-protect the parent's entry and give the child's; None where a fault is to bring it.

    Entries that a fault would fill again (zero page, clean file pages) need not be copied: the child's
    is `optional` where that is not known. An inaccessible page (PROT_NONE) is copied like any other.
    """
    if pte.optional and pte.frame.kind not in RECREATABLE and not pte.swapped:
        machine.end_of_knowledge("whether the two share a page that exec may have left to its first touch is not said")
    pte.writable = pte.write_pending = pte.frame.exclusive = pte.frame.doubtful_owner = False
    choice = machine.semantics.fork_copies_clean_ptes
    clean = pte.frame.kind in RECREATABLE
    if clean and choice is Choice.NEVER and pte.frame.kind is not FrameKind.UNDETERMINED:
        return None
    optional = pte.optional or (clean and choice is not Choice.ALWAYS)
    return pte.copied(write_pending=False, optional=optional, old=machine.semantics.forked_entries_are_old)


def copy_shared_pte(machine: Machine, pte: PTE) -> PTE | None:
    """Give the child's entry of a shared page, which may be left to a fault; the parent's stays as it is, or is asked for
    again with its next store.

    Source: vma_needs_copy (a shared VMA has no anon_vma), is_cow_mapping in copy_present_pte.
    """
    choice = machine.semantics.fork_copies_clean_ptes
    if choice is Choice.NEVER:
        return None
    may_write = pte.writable or pte.write_pending
    if pte.writable and machine.semantics.fork_protects_shared:
        pte.writable, pte.write_pending = False, True
    optional = pte.optional or choice is Choice.EITHER
    old = machine.semantics.forked_entries_are_old
    return pte.copied(write_pending=may_write, optional=optional, old=old)
