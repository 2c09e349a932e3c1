"""What exec makes of an image: its VMAs, and the one page that the kernel itself stores to.

::

     segment in memory   ┌────────────┬────────────┬─────┬──────┬────────────┐
                         │  file page │  file page │ file│zeroes│ anonymous  │
                         └────────────┴────────────┴─────┴──────┴────────────┘
     mapping              private mapping of the file ─────────▶ anonymous
     present after exec        no           no         yes            no

The file does not end where the segment's bytes do: the rest of their last page holds what follows in the file, and the
kernel has to zero it. It does so in memory, through the private mapping, and so the process has a page of its own before
its first instruction; the file stays as it is, and shows again where that page is dropped (madvise(2), MADV_DONTNEED).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.address_space import AddressSpace
from harness.model.frame import FrameKind, FramePool
from harness.model.page_table import PTE
from harness.model.vma import Vma
from harness.program.image import IMAGES, OWN, Image, Segment, image_page
from harness.program.units import PAGE_SIZE


def image_space(pool: FramePool, image: Image = IMAGES[OWN], *, tail_may_come_late: bool = False) -> AddressSpace:
    """Make the address space that exec gives to a process: VMAs, and no page present but those with a tail to zero.

    Source: load_elf_binary, elf_map, set_brk and vm_brk_flags (bss), padzero (the tail); start_brk is behind the bss.
    """
    space = AddressSpace.empty(pool)
    for vma in image_vmas(image):
        space.add(vma)
    for segment in image.segments:
        if _has_tail(segment):
            _zero_tail(pool, space, segment, may_come_late=tail_may_come_late)
    space.brk_start = space.brk = image.brk * PAGE_SIZE
    return space


def image_vmas(image: Image) -> Iterator[Vma]:
    """Give what exec maps: of each segment the pages of the file, and anonymous memory behind them."""
    for segment in image.segments:
        behind = segment.vpn + segment.file_pages
        yield Vma(segment.vpn, behind, segment.prot, file=segment.file)
        if segment.file_pages < segment.npages:
            yield Vma(behind, segment.vpn + segment.npages, segment.prot)


def _has_tail(segment: Segment) -> bool:
    """Tell whether a part of the segment's last page of the file is not the file's. Source: padzero's caller."""
    return bool(segment.tail) and segment.npages * PAGE_SIZE > segment.file_size


def _zero_tail(pool: FramePool, space: AddressSpace, segment: Segment, *, may_come_late: bool) -> None:
    last = segment.file_pages - 1
    content = image_page(segment.file, last)[: segment.tail].ljust(PAGE_SIZE, b"\0")
    frame = pool.fresh(FrameKind.ANON, content)
    entry = PTE(frame, readable=True, writable=not may_come_late, optional=may_come_late, write_pending=may_come_late)
    space.page_table.map(segment.vpn + last, entry)
