"""One booted machine: memory, tables, TLB, the zero page, and the page cache with the image in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.model_guest.files import IMAGE, File, Files
from harness.model_guest.frames import Frames
from harness.model_guest.paging import PageTables, Tlb
from harness.model_guest.vmas import Vma, VmaList
from harness.program.image import IMAGE_PAGES
from harness.program.units import HEAP, PAGE_SIZE, WINDOW_BY_NAME, Prot, Window

IMAGE_PGOFF = {"text": 1, "data": 3}
"""File page at which each file-backed window starts; page 0 is the header, which nobody maps."""

IMAGE_NPAGES = 7
"""The length of the image file, in pages."""

_IMAGE_PROT = {"text": Prot.R | Prot.X, "data": Prot.R | Prot.W, "bss": Prot.R | Prot.W}


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
    image: File
    files: Files
    zero_pfn: int
    """The shared zero page. It is never counted, never written and never freed."""
    fixed: Fixed | None = None
    """The page that is registered as a buffer."""
    limit: int | None = None
    """How many pages the process that runs may map in all; None: as many as it likes."""
    minor_faults: int = field(default=0)
    """Count of faults that ended with the access allowed."""

    def is_fixed(self, pfn: int) -> bool:
        """Tell whether a frame is the registered buffer, and a process's own."""
        return self.fixed is not None and self.fixed.pfn == pfn and not self.frames[pfn].cached

    def may_expand(self, space: AddressSpace, more: int) -> bool:
        """Tell whether the process that runs may map so many pages more."""
        room = self.room(space)
        return room is None or more <= room

    def room(self, space: AddressSpace) -> int | None:
        """Give how many pages more the process that runs may map; None: as many as it likes."""
        return None if self.limit is None else self.limit - space.vmas.npages

    def has(self, fault: str) -> bool:
        """Tell whether a fault is planted."""
        return fault in self.planted


def boot(total_frames: int, planted: frozenset[str]) -> Machine:
    """Give a machine right after boot: the zero page and the image file are in memory, no process is."""
    frames = Frames(total_frames, planted)
    zero_pfn = frames.allocate()
    image = File(frames, IMAGE, IMAGE_NPAGES * PAGE_SIZE)
    for (window, index), content in IMAGE_PAGES.items():
        image.fill(IMAGE_PGOFF[window] + index, content)
    return Machine(planted, frames, PageTables(frames), Tlb(), image, Files(frames), zero_pfn)


def image_vmas(machine: Machine) -> tuple[Vma, ...]:
    """Give the VMAs that exec lays out."""
    return tuple(_image_vma(machine, WINDOW_BY_NAME[name]) for name in _IMAGE_PROT)


def _image_vma(machine: Machine, window: Window) -> Vma:
    pgoff = IMAGE_PGOFF.get(window.name)
    file = None if pgoff is None else machine.image
    return Vma(window.vpn, window.vpn + window.npages, _IMAGE_PROT[window.name], pgoff, file)
