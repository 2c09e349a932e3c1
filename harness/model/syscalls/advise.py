"""advise: madvise(2), which drops pages, brings them in, lets the kernel have them, or says what a fork does with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.model.allowed import Allowed
from harness.model.counts import fixed, free_unheld, pins
from harness.model.fault import may_be_prefaulted, refusal, take
from harness.model.frame import OWN, Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.prefault import guess_pages
from harness.model.process import Process
from harness.model.swap import swap_out
from harness.model.syscalls.punch import make_hole
from harness.model.vma import Vma, VmaFlag
from harness.program.ops import Access, Advice, Advise
from harness.program.outcome import Done, Failed
from harness.program.units import PAGE_SIZE, Prot, address_of

_DONE = Allowed((Done(),), "madvise(2): on success it returns zero")
_ERRORS = {
    "EINVAL": Allowed((Failed("EINVAL"),), "madvise(2), EINVAL: the advice does not go with this kind of mapping"),
    "EACCES": Allowed((Failed("EACCES"),), "madvise(2), EACCES: MADV_REMOVE of what is not a shared writable mapping"),
    "EFAULT": Allowed((Failed("EFAULT"),), "madvise(2), EFAULT: populating a page failed, as by SIGBUS"),
    "ENOMEM": Allowed((Failed("ENOMEM"),), "madvise(2), ENOMEM: addresses in the range are not mapped"),
}


def advise(machine: Machine, op: Advise) -> Allowed:
    """Do what is advised VMA by VMA. One that cannot take the advice ends it there; holes are skipped, and told at last.
    A range of no length is advised nothing.

    Source: madvise(2); do_madvise, madvise_walk_vmas ("just ignore them, but return -ENOMEM at the end").
    """
    process = machine.process(op.process)
    vmas = process.memory.vmas
    first, last = op.pages.vpn, op.pages.vpns.stop

    # CHECKS
    # per VMA, in the course of it: what was done before stays done.
    hole = vmas.first_hole(first, last)
    errno = "ENOMEM" if hole != last else ""
    if op.advice in _POPULATES and not machine.semantics.populate_skips_holes:
        last = hole

    # EFFECT
    for part in vmas.parts(first, last):
        refused = _EFFECTS[op.advice](machine, process, part)
        if refused:
            errno = refused
            break
    machine.reach["advise.failed" if errno else "advise"] += 1

    # OUTCOME
    if op.advice is Advice.REMOVE and errno in _NOT_FOR_REMOVE and machine.semantics.errors_may_differ:
        return Allowed(tuple(Failed(each) for each in _NOT_FOR_REMOVE), _ERRORS["EACCES"].clause)
    return _ERRORS[errno] if errno else _DONE


def _dontneed(machine: Machine, process: Process, part: Vma) -> str:
    """Take the entries away: the next touch finds zeroes, or what the file holds.

    Source: madvise_dontneed_single_vma, zap_page_range.
    """
    ptes = [process.memory.page_table.unmap(vpn) for vpn in part.vpns]
    free_unheld(machine, [pte.frame for pte in ptes if pte is not None])
    return ""


def _free(machine: Machine, process: Process, part: Vma) -> str:
    """Let the pages of private anonymous memory go whenever the kernel likes, until they are written to.

    Source: madvise_free_single_vma (vma_is_anonymous), madvise_free_pte_range, lazyfree_fn.
    """
    if part.file is not None:
        return "EINVAL"
    if may_be_prefaulted(machine.semantics, part):
        guess_pages(machine, process.memory, part)
    for vpn in part.vpns:
        pte = process.memory.page_table.lookup(vpn)
        if pte is not None:
            pte.lazy = True
            pte.old |= machine.semantics.forked_entries_are_old  # pte_mkold, and pte_mkclean: the next store faults, too
            pte.frame.was_advised = pte.frame.kind in OWN
    return ""


def _cold(machine: Machine, process: Process, part: Vma) -> str:
    """Let the kernel think that the pages are not in use: all that may show is a fault for the access flag.

    Source: madvise_cold, madvise_cold_or_pageout_pte_range (pte_mkold).
    """
    for vpn in part.vpns:
        pte = process.memory.page_table.lookup(vpn)
        if pte is not None:
            pte.old |= machine.semantics.forked_entries_are_old
    return ""


def _pageout(machine: Machine, process: Process, part: Vma) -> str:
    """Let the kernel have at once what it can have without a loss: what is free to go, and the entries of file pages.

    Without swap what a process has stored stays where it is. Files are in memory alone, too: their pages stay in the page
    cache, but for holes that were loaded and never stored to, which need not be kept. With swap all of this may go there.

    Source: madvise(2), MADV_PAGEOUT; reclaim_pages, shrink_folio_list (add_to_swap; shmem_writepage, "redirty");
    shmem_recalc_inode, "the mm can drop undirtied hole pages behind our back".
    """
    _cold(machine, process, part)
    if machine.semantics.swaps and may_be_prefaulted(machine.semantics, part):
        guess_pages(machine, process.memory, part)  # a page that nobody has touched yet may come back from swap, too
    mappers = _mappers(machine)
    for vpn in part.vpns:
        pte = process.memory.page_table.lookup(vpn)
        if pte is None:
            continue
        shared = machine.semantics.pageout_takes_shared and pte.frame.kind is not FrameKind.ZERO
        for each in mappers[pte.frame] if shared else (pte,):
            _take(machine, each, mappers[pte.frame])
    return ""


def _mappers(machine: Machine) -> dict[Frame, list[PTE]]:
    """Find all entries of each frame, in one walk: a range may have a thousand pages."""
    mappers: dict[Frame, list[PTE]] = {}
    for _, space in machine.spaces():
        for pte in space.page_table.ptes():
            mappers.setdefault(pte.frame, []).append(pte)
    return mappers


def _take(machine: Machine, pte: PTE, mappers: list[PTE]) -> None:
    """Let the kernel have a page of one who maps it, where it is somewhere else, or can go to swap."""
    if machine.semantics.swaps and pte.frame.kind in OWN:
        swap_out(machine, pte)
    elif pte.frame.kind in (FrameKind.CACHE, FrameKind.UNDETERMINED):
        _drop_entry(machine, pte, mappers)


def _drop_entry(machine: Machine, pte: PTE, mappers: list[PTE]) -> None:
    """Let an entry go that a fault brings back, and with the last one what the page cache need not keep in memory."""
    pte.let_go()
    may_leave = pte.frame.is_hole or machine.semantics.swaps
    if may_leave and _is_last(machine, pte, mappers):
        pte.frame.may_move = pte.frame.is_paged_out = True


def _is_last(machine: Machine, pte: PTE, mappers: list[PTE]) -> bool:
    """Tell whether nobody but the page cache may hold the frame beside this entry: others may be absent."""
    others = [each for each in mappers if each is not pte and not each.optional]
    return not others and not pins(machine, pte.frame) and not fixed(machine, pte.frame)


def _remove(machine: Machine, _process: Process, part: Vma) -> str:
    """Punch a hole into the file of a shared mapping, where the mapping has it.

    Source: madvise(2), MADV_REMOVE; madvise_remove, vfs_fallocate.
    """
    if part.file is None:
        return "EINVAL"
    asks_for_now = machine.semantics.remove_asks_for_protection
    may_write = part.prot & Prot.W if asks_for_now else not part.flags & VmaFlag.NEVER_WRITABLE
    if not (part.shared and may_write):
        return "EACCES"
    start = part.pgoff * PAGE_SIZE
    make_hole(machine, machine.cache.file(part.file), start, start + part.npages * PAGE_SIZE)
    machine.reach["remove"] += 1
    return ""


_NOT_FOR_REMOVE = ("EINVAL", "EACCES")
"""What MADV_REMOVE says where it does not go: of private anonymous memory Linux says the first, its man-page the second."""


def _set(flag: VmaFlag) -> Effect:
    def effect(_machine: Machine, process: Process, part: Vma) -> str:
        _replace(process, part, part.flags | flag)
        return ""

    return effect


def _clear(flag: VmaFlag) -> Effect:
    def effect(_machine: Machine, process: Process, part: Vma) -> str:
        _replace(process, part, part.flags & ~flag)
        return ""

    return effect


def _wipe_on_fork(_machine: Machine, process: Process, part: Vma) -> str:
    """Source: madvise_vma_behavior: "MADV_WIPEONFORK is only supported on anonymous memory"."""
    if part.file is not None:
        return "EINVAL"
    _replace(process, part, part.flags | VmaFlag.WIPED_ON_FORK)
    return ""


def _replace(process: Process, part: Vma, flags: VmaFlag) -> None:
    if part.flags != flags:
        process.memory.vmas.carve(part.start, part.end)
        process.memory.vmas.insert(replace(part, flags=flags))


def _populate(access: Access, need: Prot) -> Effect:
    """Take every page, with the fault of a load or a store, without a change of its bytes.

    The protection has to name the access: write without read is no right to populate for reading, though a load works.
    Source: madvise_populate, faultin_vma_page_range, check_vma_flags.
    """

    def effect(machine: Machine, process: Process, part: Vma) -> str:
        if not part.prot & need:
            return "EINVAL"
        for vpn in part.vpns:
            at = address_of(vpn)
            assert at is not None, "a program names no other pages"
            if refusal(machine, process, at, access) is not None:
                return "EFAULT"
            take(machine, process, vpn, access)
        return ""

    return effect


Effect = Callable[[Machine, Process, Vma], str]
"""Does what is advised to a part of a VMA; gives the errno, "" where there is none."""

_POPULATES = (Advice.POPULATE_READ, Advice.POPULATE_WRITE)

_EFFECTS: dict[Advice, Effect] = {
    Advice.DONTNEED: _dontneed,
    Advice.FREE: _free,
    Advice.DONTFORK: _set(VmaFlag.NOT_FORKED),
    Advice.DOFORK: _clear(VmaFlag.NOT_FORKED),
    Advice.WIPEONFORK: _wipe_on_fork,
    Advice.KEEPONFORK: _clear(VmaFlag.WIPED_ON_FORK),
    Advice.POPULATE_READ: _populate(Access.LOAD, Prot.R),
    Advice.POPULATE_WRITE: _populate(Access.STORE, Prot.W),
    Advice.COLD: _cold,
    Advice.PAGEOUT: _pageout,
    Advice.REMOVE: _remove,
}
