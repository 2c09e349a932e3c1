"""A process's address space: its VMAs, and its page table.

(Linux: `struct mm_struct`. Linux's own `struct address_space` is something else: see `page_cache`.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.model.frame import Frame, FramePool
from harness.model.page_table import PageTable
from harness.model.vma import Vma, VmaList


@dataclass(slots=True, eq=False)
class AddressSpace:
    """VMAs say what may be; the page table says what is there now."""

    page_table: PageTable
    vmas: VmaList = field(default_factory=VmaList)
    idle: int = 0
    """Of how many idle children this is the one address space that all of theirs are like; 0: of a process that acts."""
    doubtful: set[int] = field(default_factory=set)
    """The pages that a file has lost, and that may be here still (`cut_pages_may_stay`): nobody says what they are."""
    brk_start: int = 0
    """Where the heap begins: the program break at first. Like that a byte address."""
    brk: int = 0
    """The program break: the heap below it is mapped, unless it was unmapped since."""

    @classmethod
    def empty(cls, pool: FramePool) -> AddressSpace:
        """Make one without any VMA; its root table is taken from `pool`."""
        return cls(PageTable(pool))

    def add(self, vma: Vma) -> None:
        """Map a VMA where there is none; none of its pages is present yet."""
        self.vmas.insert(vma)

    def remove(self, start: int, end: int) -> set[Frame]:
        """Unmap the pages [start, end), which may have holes.

        VMAs are split at the ends, entries go, and so do tables with no VMA left in their span. Gives
        the frames that lost an entry; whether one is free now is not for an address space to know.

        Source: do_mas_align_munmap (do_munmap before 6.1), unmap_region, zap_pte_range, free_pgtables.
        """
        dropped: set[Frame] = set()
        for part in self.vmas.carve(start, end):
            for vpn in part.vpns:
                pte = self.page_table.unmap(vpn)
                if pte is not None:
                    dropped.add(pte.frame)
        self.doubtful.difference_update(range(start, end))
        self.page_table.free_tables(start, end, self.vmas.any_in)
        return dropped

    def move(self, start: int, end: int, to: int) -> None:
        """Move the pages [start, end) to page `to` on, where nothing is: VMAs, entries, and what they let through.

        The frames stay what they are, and nobody else who holds them notices.

        Source: move_vma: copy_vma, move_page_tables (move_ptes takes an entry out and puts it in as it was).
        """
        entries = [(vpn, self.page_table.unmap(vpn)) for vpn in range(start, end)]
        for part in self.vmas.carve(start, end):
            self.vmas.insert(replace(part, start=part.start - start + to, end=part.end - start + to))
        for vpn, pte in entries:
            if pte is not None:
                self.page_table.map(vpn - start + to, pte)
        moved = {vpn for vpn in self.doubtful if start <= vpn < end}
        self.doubtful = self.doubtful - moved | {vpn - start + to for vpn in moved}
        self.page_table.free_tables(start, end, self.vmas.any_in)

    def tear_down(self) -> set[Frame]:
        """Drop every entry and free every table; gives the frames that lost an entry.

        Source: exit_mmap (unmap_vmas, free_pgtables), and pgd_free for the root.
        """
        dropped = {pte.frame for pte in self.page_table.ptes()}
        self.page_table.free_all()
        self.vmas = VmaList()
        return dropped
