"""punch: fallocate(2) with FALLOC_FL_PUNCH_HOLE, and what madvise(2) with MADV_REMOVE makes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.frame import Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_cache import CachedFile
from harness.model.vma import Vma
from harness.program.ops import Punch
from harness.program.outcome import Done, Failed
from harness.program.units import PAGE_SIZE

_DONE = Allowed((Done(),), "fallocate(2): on success, zero")
_EINVAL = Allowed((Failed("EINVAL"),), "fallocate(2), EINVAL: len was less than or equal to 0")


def punch(machine: Machine, op: Punch) -> Allowed:
    """Make a hole of a range of bytes; the size stays.

    Source: fallocate(2), FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE; vfs_fallocate, shmem_fallocate.
    """
    file = machine.cache.file(op.file)

    # CHECKS
    if op.end <= op.start:
        machine.reach["punch.einval"] += 1
        return _EINVAL

    # EFFECT
    make_hole(machine, file, op.start, op.end)
    machine.reach["punch"] += 1

    # OUTCOME
    return _DONE


def make_hole(machine: Machine, file: CachedFile, start: int, end: int) -> None:
    """Let bytes `start` up to `end` of a file read zero from now on, for all who share it.

    The pages that lie wholly in the range go, from the page cache and from every mapping: each is a hole, and gets another
    frame when it is touched. Of a page that lies there in part, at either end, the bytes are zeroed. Copies that private
    mappings made stay, unlike with truncation: the page is there still, so nothing has to become a SIGBUS.

    Source: fallocate(2), "partial filesystem blocks are zeroed, and whole filesystem blocks are removed"; shmem_fallocate
    (unmap_mapping_range without even_cows, "hole-punching leaves COWed pages"), shmem_undo_range.
    """
    first, stop = -(-start // PAGE_SIZE), end // PAGE_SIZE
    takes_rest = stop == 0 and machine.semantics.hole_in_first_page_unmaps_rest
    unmapped = range(first, sys.maxsize if takes_rest else stop)
    mappings = [(space, vma) for _, space in machine.spaces() for vma in space.vmas if vma.file == file.name]
    dropped = [frame for space, vma in mappings for frame in _let_go(space, vma, unmapped)]
    free_unheld(machine, (*machine.cache.drop(file, first, stop), *dropped))
    for from_, to in _parts_of_pages(start, end):
        machine.cache.zero(file, from_, min(to, _reach(machine, file)))


def _let_go(space: AddressSpace, vma: Vma, pages: range) -> Iterator[Frame]:
    """Take the entries away that lead to these pages of the file itself; give their frames."""
    for vpn in vma.vpns:
        pte = space.page_table.lookup(vpn) if vma.file_page(vpn) in pages else None
        if pte is not None and pte.frame.kind is FrameKind.CACHE:
            space.page_table.unmap(vpn)
            yield pte.frame
        elif pte is not None and pte.guessed:
            pte.optional = True  # whether it is the file's own is not known (see `file_copies`)


def _parts_of_pages(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the ranges of bytes at both ends that are not whole pages; one, where both are in one page."""
    behind_first, last = -(-start // PAGE_SIZE) * PAGE_SIZE, end // PAGE_SIZE * PAGE_SIZE
    if start < behind_first:
        yield start, min(end, behind_first)
    if start <= last < end:
        yield last, end


def _reach(machine: Machine, file: CachedFile) -> int:
    """Give the byte up to which the last page is zeroed, where the range goes on behind the end of the file."""
    return file.npages * PAGE_SIZE if machine.semantics.punch_clears_tail else file.size
