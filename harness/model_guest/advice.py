"""madvise: VMA by VMA, drop pages, bring them in, let them go, or note what fork shall do."""

from __future__ import annotations

from collections.abc import Callable

from harness.model_guest.entries import live_root
from harness.model_guest.holes import remove
from harness.model_guest.huge_pages import without_parts
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.mapping import drop_pages, drop_swapped, flush, present
from harness.model_guest.pagefault import touch
from harness.model_guest.paging import DIRTY, pfn_of
from harness.model_guest.swap import may_swap, swap_out
from harness.model_guest.trouble import Segfault
from harness.model_guest.vmas import NOT_FORKED, WIPED_ON_FORK, Vma
from harness.program.ops import Advice
from harness.program.units import Prot


def advise(machine: Machine, spaces: list[AddressSpace], vpns: range, advice: Advice) -> str:
    """Do what is advised to the first of all address spaces. Returns the errno, "" where there is none.

    Raises OutOfMemory, Panic, Stuck.
    """
    space = spaces[0]
    if not vpns:
        return ""
    mapped = 0
    for vma in [vma for vma in space.vmas if vma.start < vpns.stop and vpns.start < vma.end]:
        part = range(max(vma.start, vpns.start), min(vma.end, vpns.stop))
        mapped += len(part)
        if advice is Advice.REMOVE:
            errno = remove(machine, spaces, vma, part)
        else:
            errno = _EFFECTS[advice](machine, space, vma, part)
        if errno:
            return errno
    return "" if mapped == len(vpns) else "ENOMEM"


def _dontneed(machine: Machine, space: AddressSpace, _vma: Vma, part: range) -> str:
    if not machine.has("dontneed-ignored"):  # planted: advice is taken for advice
        if machine.has("huge-dontneed-part-ignored"):  # planted: what would have to be split stays
            part = without_parts(machine, space, part)
        # planted: there is nothing to protect from each other; and what is in swap is out of the way already
        keeps = {"keeps_tlb": machine.has("dontneed-keeps-tlb"), "keeps_swap": machine.has("swap-dontneed-keeps")}
        drop_pages(machine, space, part, **keeps)
    return ""


def _free(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
    """Let the frames of a range go when it is paged out, unless they are stored to again: none is dirty from now on."""
    if vma.pgoff is not None:
        return "EINVAL"
    if machine.has("free-takes-shared"):  # planted: they go at once, whoever else has them
        drop_pages(machine, space, part, unasked=True)
        return ""
    drop_swapped(machine, space, part)
    for vpn, entry in present(machine, space, part):
        machine.tables.store(live_root(space), vpn, entry & ~DIRTY)
        machine.frames[pfn_of(entry)].free_to_go = True
    if not machine.has("free-keeps-tlb"):  # planted: the CPU knows a dirty entry, and does not mark it again
        flush(machine, part)
    return ""


def _cold(_machine: Machine, _space: AddressSpace, _vma: Vma, _part: range) -> str:
    return ""


def _pageout(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
    """Drop the pages that can go without a loss: the page cache has those of files, and others may be free to go."""
    for vpn, entry in present(machine, space, part):
        may_go = _may_go(machine, entry)
        if not may_go and may_swap(machine, pfn_of(entry)):
            swap_out(machine, space, vpn, entry)
        if not may_go:
            continue
        is_shared = machine.frames[pfn_of(entry)].mapcount > 1  # only a fault lets such a page go, and for all
        drop_pages(machine, space, range(vpn, vpn + 1), unasked=is_shared)
        page = vma.file_page(vpn)
        if machine.has("pageout-drops-cache") and vma.file is not None and page is not None:
            vma.file.lose(page)  # planted: it is dropped from the page cache, too, as if it were on a disk
    return ""


def _may_go(machine: Machine, entry: int) -> bool:
    """Tell whether the page behind an entry may be dropped, and note where it was stored to since it was free to go."""
    frame = machine.frames[pfn_of(entry)]
    if pfn_of(entry) == machine.zero_pfn:
        return False
    if frame.mapcount > 1 and not machine.has("pageout-takes-shared"):  # planted: nobody asks who else has it
        return False
    if not frame.anonymous:
        return frame.cached
    if frame.refcount > frame.mapcount:
        return False
    if machine.has("pageout-takes-stored"):  # planted: as if it went to a disk, which there is none of
        return True
    if entry & DIRTY and not machine.has("pageout-ignores-dirty"):  # planted: what was free to go is so for ever
        frame.free_to_go = False
    return frame.free_to_go


def _flag(add: int, remove: int, *, anonymous: bool = False, ignored: str = "") -> Effect:
    def effect(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
        if anonymous and vma.pgoff is not None:
            return "EINVAL"
        if not (ignored and machine.has(ignored)):  # planted: what was advised before cannot be taken back
            space.vmas.advise(part.start, part.stop, add, remove)
        return ""

    return effect


def _populate(need: Prot, *, write: bool) -> Effect:
    def effect(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
        if not vma.prot & need:
            return "EINVAL"
        try:
            for vpn in part:
                # planted: both kinds bring pages in as a load would
                touch(machine, space, vpn, write=write and not machine.has("populate-write-reads"))
        except Segfault:
            return "EFAULT"
        return ""

    return effect


Effect = Callable[[Machine, AddressSpace, Vma, range], str]
"""Does what is advised to a part of a VMA. Returns the errno, "" where there is none."""

_EFFECTS: dict[Advice, Effect] = {
    Advice.DONTNEED: _dontneed,
    Advice.FREE: _free,
    Advice.DONTFORK: _flag(NOT_FORKED, 0),
    Advice.DOFORK: _flag(0, NOT_FORKED, ignored="dofork-ignored"),
    Advice.WIPEONFORK: _flag(WIPED_ON_FORK, 0, anonymous=True),
    Advice.KEEPONFORK: _flag(0, WIPED_ON_FORK, ignored="keeponfork-ignored"),
    Advice.POPULATE_READ: _populate(Prot.R, write=False),
    Advice.POPULATE_WRITE: _populate(Prot.W, write=True),
    Advice.COLD: _cold,
    Advice.PAGEOUT: _pageout,
}
