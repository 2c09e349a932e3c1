"""VMAs: what each range of pages of a process is, and what may be done with it.

A list of VMAs is sorted, its VMAs are disjoint and non-empty. Whether two equal neighbours are one VMA
or two is the kernel's choice (Linux merges most of them, vma_merge), so nothing here merges, and what is
compared is the `normalised` list, in which all that could be one is one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.program.units import Prot


class VmaFlag(enum.IntFlag):
    """What else is special about a VMA, and is kept when it is split, moved or inherited."""

    GROWS_DOWN = 1
    """It takes in the pages below it that are touched (MAP_GROWSDOWN)."""
    NOT_FORKED = 2
    """A child does not get it (MADV_DONTFORK)."""
    WIPED_ON_FORK = 4
    """A child gets it with all its pages zero (MADV_WIPEONFORK)."""
    NEVER_WRITABLE = 8
    """It is shared, and of a file that was opened for reading alone (no VM_MAYWRITE)."""


PLAIN = VmaFlag(0)
"""Nothing is special."""


@dataclass(frozen=True, slots=True)
class Vma:
    """Pages [start, end) with one protection, each of which is what its page of a file is, or starts as zeroes.

    `file` names the file (see `page_cache`) whose pages they map, from page `pgoff` of it on; None is private
    anonymous memory, whose `pgoff` is 0. (For an image window the offset in the executable is the linker's
    business: `pgoff` equals a guest's, within one window, up to a constant.)
    `shared` tells whether a store goes to the file, and so to all who map it, or to a copy of the process's own.
    """

    start: int
    end: int
    prot: Prot
    file: str | None = None
    pgoff: int = 0
    flags: VmaFlag = PLAIN
    shared: bool = False

    @property
    def npages(self) -> int:
        """The number of pages."""
        return self.end - self.start

    @property
    def vpns(self) -> range:
        """The virtual page numbers."""
        return range(self.start, self.end)

    def part(self, start: int, end: int) -> Vma:
        """Give the part of it that lies in pages [start, end), at the file offset that it has."""
        first, last = max(start, self.start), min(end, self.end)
        pgoff = self.pgoff + first - self.start if self.file is not None else 0
        return replace(self, start=first, end=last, pgoff=pgoff)

    def file_page(self, vpn: int) -> int:
        """Give the index, in its file, of the page that `vpn` maps."""
        return self.pgoff + vpn - self.start

    def continues(self, other: Vma) -> bool:
        """Tell whether it could be one VMA with `other`, right before it."""
        return (
            other.end == self.start
            and other.prot == self.prot
            and other.flags == self.flags
            and other.shared == self.shared
            and other.file == self.file
            and (self.file is None or self.pgoff == other.pgoff + other.npages)
        )


@dataclass(slots=True)
class VmaList:
    """The VMAs of one process, in the order of addresses."""

    items: list[Vma] = field(default_factory=list)

    def __iter__(self) -> Iterator[Vma]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def npages(self) -> int:
        """The number of pages in all of them."""
        return sum(vma.npages for vma in self.items)

    def find(self, vpn: int) -> Vma | None:
        """Give the VMA in which page `vpn` lies."""
        for vma in self.items:
            if vpn < vma.end:
                return vma if vma.start <= vpn else None
        return None

    def any_in(self, start: int, end: int) -> bool:
        """Tell whether a VMA has a page in [start, end)."""
        return start < end and any(vma.start < end and start < vma.end for vma in self.items)

    def parts(self, start: int, end: int) -> list[Vma]:
        """List the parts of VMAs that lie in pages [start, end); none where that is no page."""
        if start >= end:
            return []
        return [vma.part(start, end) for vma in self.items if vma.start < end and start < vma.end]

    def carve(self, start: int, end: int) -> list[Vma]:
        """Take the pages [start, end) out, splitting the VMAs at its ends; give what was taken."""
        taken = self.parts(start, end)
        kept: list[Vma] = []
        for vma in self.items:
            if vma.end <= start or end <= vma.start:
                kept.append(vma)
                continue
            if vma.start < start:
                kept.append(vma.part(vma.start, start))
            if end < vma.end:
                kept.append(vma.part(end, vma.end))
        self.items = kept
        return taken

    def cut(self, start: int, end: int) -> None:
        """Split the VMAs at both ends of [start, end), and take nothing out."""
        for part in self.carve(start, end):
            self.insert(part)

    def insert(self, vma: Vma) -> None:
        """Put a VMA into a place where there is none."""
        self.items.append(vma)
        self.items.sort(key=_start)

    def first_hole(self, start: int, end: int) -> int:
        """Find the first page of [start, end) that is in no VMA; `end` where there is none."""
        for part in self.parts(start, end):
            if part.start != start:
                break
            start = part.end
        return start

    def extend(self, vma: Vma, *, start: int | None = None, end: int | None = None) -> Vma:
        """Let `vma` begin or end elsewhere, where nothing is in the way; give what it is now."""
        first = vma.start if start is None else start
        pgoff = vma.pgoff + first - vma.start if vma.file is not None else vma.pgoff
        longer = replace(vma, start=first, end=vma.end if end is None else end, pgoff=pgoff)
        self.items[self.items.index(vma)] = longer
        return longer

    def copy(self) -> VmaList:
        """Give a list of the same VMAs (a VMA never changes, so they may be shared)."""
        return VmaList(list(self.items))


def _start(vma: Vma) -> int:
    return vma.start


def normalised(vmas: Iterable[Vma]) -> list[Vma]:
    """Merge all neighbours in the sorted `vmas` that could be one VMA."""
    merged: list[Vma] = []
    for vma in vmas:
        if merged and vma.continues(merged[-1]):
            merged[-1] = replace(merged[-1], end=vma.end)
        else:
            merged.append(vma)
    return merged
