"""One booted machine: memory, tables, TLB, the zero page, and the page cache with the images in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.model_guest.features import NONE, Features
from harness.model_guest.files import Files, ImageFile
from harness.model_guest.frames import Frames
from harness.model_guest.paging import PageTables, Tlb
from harness.model_guest.swap_area import SwapArea
from harness.model_guest.vmas import Vma, VmaList
from harness.program.image import IMAGES, OWN, Image, Segment

RSS_KINDS = ("anonymous", "file", "shared")
"""Of what kind a resident page is: a process's own data, of an image, or of a file that lives in memory."""

PREFAULT_BUDGET = 8
"""The pages of new mappings that an address space may be given before it touches them, where the kernel prefaults."""


@dataclass(slots=True)
class AddressSpace:
    """What one process maps (several, where a fault makes them share).

    `root` is the frame number of its root table; None once it has been torn down.
    """

    root: int | None
    vmas: VmaList
    users: int = 1
    brk: int = 0
    """The program break, a byte address."""
    brk_start: int = 0
    """Where it was after exec: it does not go below that."""
    rss: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RSS_KINDS, 0))
    """How many pages of each kind are present, as counted (see `count_rss`)."""
    miscounted: int = 0
    """How many pages the size is counted too high. Only where a fault says so."""
    prefault_left: int = PREFAULT_BUDGET
    """How many pages of new mappings may still come before they are touched."""

    @property
    def size(self) -> int:
        """How many pages it maps, as counted; the limit is held against this."""
        return self.vmas.npages + self.miscounted


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
    images: dict[str, ImageFile]
    files: Files
    zero_pfn: int
    """The shared zero page. It is never counted, never written and never freed."""
    features: Features = NONE
    """What this kernel can do beyond what every kernel does."""
    swap: SwapArea = field(default_factory=SwapArea)
    fixed: Fixed | None = None
    """The page that is registered as a buffer."""
    limit: int | None = None
    """How many pages the process that runs may map in all; None: as many as it likes."""
    promised_to_nobody: int = 0
    """How many pages are still set apart for address spaces that have ended, in pages. Only where a fault says so."""
    minor_faults: int = field(default=0)
    """Count of faults that ended with the access allowed."""

    def is_fixed(self, pfn: int) -> bool:
        """Tell whether a frame is the registered buffer, and a process's own."""
        return self.fixed is not None and self.fixed.pfn == pfn and not self.frames[pfn].cached

    def count_rss(self, space: AddressSpace, pfn: int, change: int) -> None:
        """Count an entry of `space` that leads to frame `pfn`: one that came (`change` 1), or went (-1)."""
        if pfn == self.zero_pfn:
            return
        frame = self.frames[pfn]
        kind = "anonymous" if frame.anonymous else "shared" if frame.in_memory else "file"
        if kind == "shared" and self.has("rss-counts-shared-as-anon"):  # planted: what has no disk is not of a file
            kind = "anonymous"
        space.rss[kind] += change

    def may_expand(self, space: AddressSpace, more: int) -> bool:
        """Tell whether the process that runs may map so many pages more."""
        room = self.room(space)
        return room is None or more <= room

    def room(self, space: AddressSpace) -> int | None:
        """Give how many pages more the process that runs may map; None: as many as it likes."""
        return None if self.limit is None else self.limit - space.size

    def has(self, fault: str) -> bool:
        """Tell whether a fault is planted."""
        return fault in self.planted


def boot(total_frames: int, planted: frozenset[str], features: Features = NONE) -> Machine:
    """Give a machine right after boot: the zero page and the first image's file are in memory, no process is."""
    frames = Frames(total_frames, planted)
    zero_pfn = frames.allocate()
    images = {image.name: ImageFile(frames, image) for image in IMAGES.values()}
    images[OWN].read_all()
    return Machine(planted, frames, PageTables(frames), Tlb(), images, Files(frames), zero_pfn, features)


def image_vmas(machine: Machine, image: Image) -> tuple[Vma, ...]:
    """Give the VMAs that exec lays out for an image."""
    return tuple(vma for segment in image.segments for vma in _segment_vmas(machine, image, segment))


BSS_CUT = 512
"""The pages of a page table, where the fault `large-bss-cut` ends a segment."""


def _segment_vmas(machine: Machine, image: Image, segment: Segment) -> list[Vma]:
    file = machine.images[image.name]
    behind, end = segment.vpn + segment.file_pages, segment.vpn + segment.npages
    vmas = [Vma(segment.vpn, behind, segment.prot, file.start_of[segment.file], file)]
    if machine.has("large-bss-cut"):  # planted: what is zeroed has to fit into one page table
        end = min(end, segment.vpn + BSS_CUT)
    if behind < end:
        vmas.append(Vma(behind, end, segment.prot))
    return vmas
