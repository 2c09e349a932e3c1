"""Holes in files: fallocate with FALLOC_FL_PUNCH_HOLE, and MADV_REMOVE, which punches one where a mapping has the file."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model_guest.files import File
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.mapping import drop_pages
from harness.model_guest.vmas import NEVER_WRITABLE, Vma
from harness.program.units import PAGE_SIZE


def punch(machine: Machine, spaces: list[AddressSpace], file: File, start: int, end: int) -> None:
    """Let bytes `start` up to `end` of a file read zero. Whole pages go, from the cache and from every address space, of
    which the first is that of who asks; of the others the bytes are zeroed.
    """
    first, stop = -(-start // PAGE_SIZE), end // PAGE_SIZE
    if machine.has("punch-rounds-out"):  # planted: pages of which a part is punched go, too
        first, stop = start // PAGE_SIZE, -(-end // PAGE_SIZE)
    if machine.has("punch-forgets-last-page"):  # planted: the last whole page is taken for the one behind the range
        stop -= 1
    pages = range(first, max(first, stop))
    _unmap(machine, spaces, file, pages)
    if not machine.has("punch-keeps-cache"):  # planted: it is advice, and the file has its pages still
        # planted: the hold is forgotten
        file.evict(pages.start, pages.stop, keep_hold=machine.has("punch-keeps-hold"))
    for at, to in [] if machine.has("punch-leaves-parts") else _parts_of_pages(start, end):  # planted: none are zeroed
        pfn = file.lookup(at // PAGE_SIZE)
        if pfn is not None:
            machine.frames[pfn].data[at % PAGE_SIZE : at % PAGE_SIZE + to - at] = bytes(to - at)
    if machine.has("punch-cuts-size") and start < file.size <= end:  # planted: behind the hole nothing is left
        file.size = start


def _parts_of_pages(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range where pages begin; give the pieces that are not whole pages."""
    while start < end:
        to = min(end, start - start % PAGE_SIZE + PAGE_SIZE)
        if to - start < PAGE_SIZE:
            yield start, to
        start = to


def _unmap(machine: Machine, spaces: list[AddressSpace], file: File, pages: range) -> None:
    """Take the file's own pages from all who map them."""
    keeps_tlb = machine.has("punch-keeps-tlb")  # planted: the CPU goes on using what went
    if machine.has("punch-keeps-mappings"):  # planted: nobody looks who maps them
        return
    for space in spaces[:1] if machine.has("punch-forgets-others") else spaces:  # planted: nobody else is looked for
        for vma in [vma for vma in space.vmas if vma.file is file]:
            for vpn in _mapped(machine, space, vma, pages):
                drop_pages(machine, space, range(vpn, vpn + 1), keeps_tlb=keeps_tlb)


def _mapped(machine: Machine, space: AddressSpace, vma: Vma, pages: range) -> Iterator[int]:
    """Find where a mapping has some of the file's pages: copies that the process made are its own."""
    for vpn in vma.vpns:
        pfn = machine.tables.frame_at(space.root, vpn) if vma.file_page(vpn) in pages else None
        if pfn is None:
            continue
        # planted: they are taken as truncation takes them
        if not machine.frames[pfn].anonymous or machine.has("punch-takes-copies"):
            yield vpn


def remove(machine: Machine, spaces: list[AddressSpace], vma: Vma, part: range) -> str:
    """Punch a hole where a mapping has its file. Returns the errno, "" where there is none."""
    if vma.file is None or vma.pgoff is None:
        return "EINVAL"
    if not vma.shared or vma.flags & NEVER_WRITABLE:
        return "EACCES"
    if machine.has("remove-is-dontneed"):  # planted: they come back, as the file has them
        drop_pages(machine, spaces[0], part)
        return ""
    first = vma.pgoff + part.start - vma.start
    if machine.has("remove-forgets-offset"):  # planted: as if every mapping began where its file does
        first -= vma.pgoff
    punch(machine, spaces, vma.file, first * PAGE_SIZE, (first + len(part)) * PAGE_SIZE)
    return ""
