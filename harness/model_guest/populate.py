"""MAP_POPULATE: the pages of a new mapping come at once, as far as they can."""

from __future__ import annotations

from harness.model_guest.entries import install
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.pagefault import touch
from harness.model_guest.paging import PRESENT, USER, WRITABLE
from harness.model_guest.trouble import Segfault
from harness.model_guest.vmas import Vma
from harness.program.units import Prot


def populate(machine: Machine, space: AddressSpace, vpns: range) -> str:
    """Touch the pages of a new mapping: by stores where they are the process's own and may be written, else by loads.

    Returns "", as nobody is told what did not come. Raises OutOfMemory, Panic, Stuck.
    """
    vma = space.vmas.find(vpns.start)
    assert vma is not None, "it was mapped just now"
    if machine.has("populate-ignored"):  # planted: the flag is known, and nothing is done
        return ""
    write = bool(vma.prot & Prot.W) and not vma.shared
    for vpn in vpns:
        try:
            _bring_in(machine, space, vma, vpn, write=write)
        except Segfault:
            return "EFAULT" if machine.has("populate-tells-failure") else ""  # planted: as madvise does
    return ""


def _bring_in(machine: Machine, space: AddressSpace, vma: Vma, vpn: int, *, write: bool) -> None:
    page = vma.file_page(vpn)
    is_in_cache = vma.file is not None and page is not None and vma.file.lookup(page) is not None
    if write and is_in_cache and machine.has("populate-gives-cache"):  # planted: a page of the cache is mapped as it is
        assert vma.file is not None, "it is of a file"
        assert page is not None, "it is of a file"
        pfn = vma.file.page(page)
        machine.frames.get(pfn)
        install(machine, space, vpn, pfn, PRESENT | USER | WRITABLE)
        return
    is_forbidden = not vma.prot and page is None
    if is_forbidden and machine.has("populate-asks-nobody"):  # planted: pages come whatever the protection is
        install(machine, space, vpn, machine.frames.take(), PRESENT)
        return
    # planted: what will be stored to is brought in by a load, and takes a second fault then
    pfn = touch(machine, space, vpn, write=write and not machine.has("populate-reads"))
    if pfn != machine.zero_pfn and machine.has("populate-keeps-hold"):  # planted: who brings it in holds it
        machine.frames.get(pfn)
