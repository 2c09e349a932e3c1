"""What MAP_POPULATE does to a new mapping: its pages come before anybody has touched them."""

from __future__ import annotations

from harness.model.fault import WRITE, has_key, is_behind_end, take
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.vma import Vma
from harness.program.ops import Access


def populate(machine: Machine, process: Process, vma: Vma) -> None:
    """Bring in the pages of a new mapping, up to the first that cannot come, of which nobody is told.

    Private memory that may be written is touched by stores, for it will be; all other that may be touched at all by loads.

    Source: mmap(2), MAP_POPULATE; populate_vma_page_range, and __mm_populate, which ignores errors; check_vma_flags, which
    stops at memory that a protection key forbids.
    """
    if not vma.prot or has_key(machine.semantics, vma.prot):
        return
    access = Access.STORE if vma.prot & WRITE and not vma.shared else Access.LOAD
    for vpn in vma.vpns:
        if is_behind_end(machine, vma, vpn):
            return
        take(machine, process, vpn, access)
