"""Pages that come before anybody has touched them, where the kernel is one that prefaults.

::

    a new mapping   small, anonymous, writable: all its pages, as long as the address space's budget lasts
    exec            what the page cache has of the image's file (an exec template)
    a read fault    of a file: what the page cache has of the pages around it (fault-around)

None of them changes what a process sees, nor how a frame is counted: they take the same steps as a first touch would.

Source: the seed's prefault_small_anonymous; do_fault_around and filemap_map_pages.
"""

from __future__ import annotations

from harness.model_guest.entries import install, live_root, map_fresh, readable_bits
from harness.model_guest.features import Feature
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import PRESENT, SWAPPED
from harness.model_guest.vmas import GROWS_DOWN, Vma
from harness.program.units import PAGE_SIZE, Prot

AROUND = 16
"""How many pages, from a multiple of as many on, fault-around looks at."""

EAGER = 64
"""The pages of a mapping that `eager-prefault` brings in."""


def prefault_mapping(machine: Machine, space: AddressSpace, vma: Vma) -> None:
    """Bring in the pages of a new, small, writable, anonymous mapping. Raises OutOfMemory."""
    if vma.pgoff is not None or not vma.prot & Prot.W:
        return
    vpns = vma.vpns
    if machine.has("eager-prefault"):  # planted: the budget is as big as a whole BSS
        vpns = vpns[:EAGER]
    elif Feature.PREFAULT not in machine.features or vma.flags & GROWS_DOWN or len(vpns) > space.prefault_left:
        return
    else:
        space.prefault_left -= len(vpns)
    for vpn in vpns:
        pfn = map_fresh(machine, space, vpn, as_it_is=machine.has("prefault-keeps-bytes"))  # planted: a touch zeroes it
        if machine.has("prefault-counts-twice"):  # planted: who brings it in holds it, and does not let go
            machine.frames.get(pfn)


def prefault_image(machine: Machine, space: AddressSpace) -> None:
    """Map what the page cache has of the files of a new image. Raises OutOfMemory."""
    if Feature.PREFAULT in machine.features:
        for vma in space.vmas:
            _map_cached(machine, space, vma, vma.vpns)


def fault_around(machine: Machine, space: AddressSpace, vma: Vma, vpn: int) -> None:
    """Map what the page cache has around a page that has just been read. Raises OutOfMemory."""
    if Feature.PREFAULT in machine.features:
        first = vpn - vpn % AROUND
        _map_cached(machine, space, vma, range(max(first, vma.start), min(first + AROUND, vma.end)))


def _map_cached(machine: Machine, space: AddressSpace, vma: Vma, vpns: range) -> None:
    """Map those pages of a range that are absent and in the page cache, for reading."""
    if vma.file is None or not vma.file.name or not vma.prot:
        return
    for vpn in vpns:
        page = vma.file_page(vpn)
        assert page is not None, "it is of a file"
        if machine.has("prefault-of-wrong-page") and vpn + 1 in vma.vpns:  # planted: the index is one too high
            page += 1
        pfn = vma.file.lookup(page)
        if pfn is None or not vma.file.reaches(page) or machine.tables.lookup(live_root(space), vpn) & (PRESENT | SWAPPED):
            continue
        if machine.has("prefault-stores") and vma.prot & Prot.W and not vma.shared:
            # planted: it brings the page in by a store, for then no second fault will be needed
            own = map_fresh(machine, space, vpn)
            machine.frames[own].data[1:] = machine.frames[pfn].data[1:PAGE_SIZE]
            continue
        machine.frames.get(pfn)
        install(machine, space, vpn, pfn, readable_bits(vma.prot))
