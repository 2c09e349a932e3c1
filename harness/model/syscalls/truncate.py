"""truncate: ftruncate(2), both ways."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.frame import Frame
from harness.model.machine import Machine
from harness.model.page_cache import CachedFile
from harness.model.semantics import Choice
from harness.program.ops import Truncate
from harness.program.outcome import Done
from harness.program.units import PAGE_SIZE

_DONE = Allowed((Done(),), "ftruncate(2): on success, zero")


def truncate(machine: Machine, op: Truncate) -> Allowed:
    """Give the file another size. What is cut off is gone from every mapping; what is added reads zero.

    Source: ftruncate(2); shmem_setattr.
    """
    file = machine.cache.file(op.file)

    # CHECKS
    # none: the file is open for writing, and the size is in reach.

    # EFFECT
    if op.size > file.size:
        grow(machine, file, op.size)
        machine.reach["truncate.up"] += 1
    elif op.size < file.size or machine.semantics.truncate_to_same_clears_tail:
        cut(machine, file, op.size)
        machine.reach["truncate.down"] += 1

    # OUTCOME
    return _DONE


def grow(machine: Machine, file: CachedFile, size: int) -> None:
    """Make a file longer by a hole. What lies in the old last page behind the old end should be zero by now.

    Source: shmem_setattr, which does nothing for that; pagecache_isize_extended and block_truncate_page elsewhere.
    """
    if machine.semantics.growth_shows_tail is Choice.NEVER:
        machine.cache.blank(file, file.size)
    file.size = size


def cut(machine: Machine, file: CachedFile, size: int) -> None:
    """Make a file shorter, or clear what lies behind its end.

    Pages that lie wholly behind the new end go: from the page cache, from everybody's page tables, and with them the
    copies that private mappings made of them (the next touch is a SIGBUS, though the data was the process's own). Of the
    page in which the file ends now the rest is zeroed, for all who share it; private copies of it stay as they are.

    Source: shmem_setattr, unmap_mapping_range (even_cows), shmem_undo_range; truncate_pagecache.
    """
    first, old_end = -(-size // PAGE_SIZE), file.npages
    dropped: set[Frame] = set()
    for _, space in machine.spaces():
        for vma in space.vmas:
            behind = [vpn for vpn in vma.vpns if vma.file_page(vpn) >= first] if vma.file == file.name else []
            ptes = [space.page_table.unmap(vpn) for vpn in behind]
            dropped.update([pte.frame for pte in ptes if pte is not None])
            lost = [vpn for vpn in behind if vma.file_page(vpn) < old_end]
            if lost and machine.semantics.cut_pages_may_stay:
                space.doubtful.update(lost)
    file.size = size
    free_unheld(machine, (*dropped, *machine.cache.drop(file, first)))
    machine.cache.blank(file, size)
