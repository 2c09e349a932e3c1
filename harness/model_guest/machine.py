"""One booted machine: memory, tables, TLB, the zero page, and the page cache with the image in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.model_guest.frames import Frames
from harness.model_guest.paging import PageTables, Tlb
from harness.model_guest.vmas import Vma, VmaList
from harness.program.image import IMAGE_PAGES
from harness.program.units import HEAP, PAGE_SIZE, WINDOW_BY_NAME, Prot

IMAGE_PGOFF = {"text": 1, "data": 3}
"""File page at which each file-backed window starts; page 0 is the header, which nobody maps."""

_IMAGE_PROT = {"text": Prot.R | Prot.X, "data": Prot.R | Prot.W, "bss": Prot.R | Prot.W}


class PageCache:
    """The pages of the image file, each in a frame of which the cache holds one reference."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._pfn_of: dict[int, int] = {}

    def lookup(self, file_page: int) -> int | None:
        """Give the frame of a file page; None beyond the end of the file."""
        return self._pfn_of.get(file_page)

    def insert(self, file_page: int, pfn: int) -> None:
        """Put a frame into the cache; the caller's hold of it becomes the cache's."""
        old = self._pfn_of.get(file_page)
        self._pfn_of[file_page] = pfn
        self.frames[pfn].cached = True
        if old is not None:
            self.frames[old].cached = False
            self.frames.put(old)


@dataclass(slots=True)
class AddressSpace:
    """What one process maps (several, where a fault makes them share).

    `root` is the frame number of its root table; None once it has been torn down.
    """

    root: int | None
    vmas: VmaList
    users: int = 1
    brk: int = HEAP.vpn * PAGE_SIZE
    """The program break, a byte address."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A page that the kernel was given as a buffer: where it was then, its frame, and whether that is held."""

    vpn: int
    pfn: int
    is_held: bool


@dataclass(slots=True)
class Machine:
    """The parts that every operation works on."""

    planted: frozenset[str]
    frames: Frames
    tables: PageTables
    tlb: Tlb
    cache: PageCache
    zero_pfn: int
    """The shared zero page. It is never counted, never written and never freed."""
    fixed: Fixed | None = None
    """The page that is registered as a buffer."""
    minor_faults: int = field(default=0)
    """Count of faults that ended with the access allowed."""

    def is_fixed(self, pfn: int) -> bool:
        """Tell whether a frame is the registered buffer."""
        return self.fixed is not None and self.fixed.pfn == pfn

    def has(self, fault: str) -> bool:
        """Tell whether a fault is planted."""
        return fault in self.planted


def boot(total_frames: int, planted: frozenset[str]) -> Machine:
    """Give a machine right after boot: the zero page and the image file are in memory, no process is."""
    frames = Frames(total_frames, planted)
    cache = PageCache(frames)
    machine = Machine(planted, frames, PageTables(frames), Tlb(), cache, zero_pfn=frames.allocate())
    for (window, index), content in IMAGE_PAGES.items():
        pfn = frames.allocate()
        frames[pfn].data[:] = content
        cache.insert(IMAGE_PGOFF[window] + index, pfn)
    return machine


def image_vmas() -> tuple[Vma, ...]:
    """Give the VMAs that exec lays out."""
    windows = [WINDOW_BY_NAME[name] for name in _IMAGE_PROT]
    return tuple(Vma(w.vpn, w.vpn + w.npages, _IMAGE_PROT[w.name], IMAGE_PGOFF.get(w.name)) for w in windows)
