"""The page table of x86-64: a radix tree of four levels, whose nodes are frames as well.

::

     virtual page number (36 bits)
    ┌───────────┬───────────┬───────────┬───────────┐
    │ 35 … 27   │ 26 … 18   │ 17 …  9   │  8 …  0   │      nine bits choose one of 512 entries
    └─────┬─────┴─────┬─────┴─────┬─────┴─────┬─────┘
          ▼           ▼           ▼           ▼
      level 4 ──▶ level 3 ──▶ level 2 ──▶ level 1 ──▶ frame
      (root)      1 GiB an    2 MiB an    4 KiB an
                  entry       entry       entry

Linux calls the levels PGD, PUD, PMD and PTE table. Tables come into being when a page below them is
mapped. An empty table is *not* freed when its last entry goes: munmap frees the tables whose span holds
no VMA any more (`free_tables`), and the end of the address space frees the rest (`free_all`).

Source: __handle_mm_fault (allocation); free_pgtables, free_pgd_range (munmap); exit_mmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from harness.model.frame import Frame, FrameKind, FramePool

BITS = 9
"""Bits of the virtual page number that one level consumes."""

ROOT_LEVEL = 4
_MASK = (1 << BITS) - 1


@dataclass(slots=True)
class PTE:
    """A leaf entry, which is always present, but for one of a page in swap: an absent page has no entry.

    `readable` and `writable` are what the hardware lets through. The others say what the kernel may have
    done differently, and stay False on a kernel without choices:

    `optional`        the entry may be absent; the page's next touch brings it back as it is here.
    `write_pending`   the entry may be writable already; where it is not, the next store takes a fault.
    `lazy`            the kernel was advised that it may take the frame (MADV_FREE): the entry may be absent, and the
                      page then reads zero.
    `old`             fork made it without the access flag: where software sets that, the next touch takes a fault.
    `prefaulted`      the kernel mapped the page of its own accord, and the process did not touch it yet.
    `swapped`         the page may be in swap: the entry is not present then, and holds the page all the same (see `swap`).
    `guessed`         the entry may lead to another frame of the same bytes than `frame`, which relatives may have too.
    """

    frame: Frame
    readable: bool
    writable: bool
    optional: bool = False
    write_pending: bool = False
    prefaulted: bool = False
    lazy: bool = False
    old: bool = False
    guessed: bool = False
    swapped: bool = False

    def copied(self, *, write_pending: bool, optional: bool, old: bool) -> PTE:
        """Give an entry for another table: read-only, and else as this one. (A fork copies hundreds.)"""
        return PTE(
            self.frame, self.readable, writable=False, optional=optional, write_pending=write_pending,
            prefaulted=self.prefaulted, lazy=self.lazy, old=old, guessed=self.guessed, swapped=self.swapped,
        )  # fmt: skip

    def let_go(self) -> None:
        """Leave it open whether the entry is there; where it is, whether it may still be written through."""
        self.optional = True
        self.write_pending |= self.writable
        self.writable = False


@dataclass(slots=True, eq=False)
class LeafTable:
    """A table of level 1: its entries map pages."""

    frame: Frame
    entries: dict[int, PTE] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Directory:
    """A table of level 2, 3 or 4: its entries lead to tables of the level below."""

    frame: Frame
    level: int
    entries: dict[int, Directory | LeafTable] = field(default_factory=dict)


Table = Directory | LeafTable
TableSeen = tuple[int, int, Frame]
"""A table page: its level, the first virtual page number of its span, and the frame that holds it."""


class PageTable:
    """One process's tree. The root is there from the start; `pool` gives the frames of the tables."""

    __slots__ = ("pool", "root")

    def __init__(self, pool: FramePool) -> None:
        self.pool = pool
        self.root = Directory(pool.fresh(FrameKind.TABLE), ROOT_LEVEL)

    def lookup(self, vpn: int) -> PTE | None:
        """Walk down to the entry of page `vpn`; None where the walk ends early."""
        leaf = self._leaf(vpn)
        return leaf.entries.get(vpn & _MASK) if leaf else None

    def map(self, vpn: int, pte: PTE) -> None:
        """Put an entry at page `vpn`, in place of any other, making the tables that it needs."""
        directory = self.root
        for level in range(ROOT_LEVEL - 1, 1, -1):
            directory = self._directory_below(directory, vpn >> BITS * level & _MASK)
        self._leaf_below(directory, vpn >> BITS & _MASK).entries[vpn & _MASK] = pte

    def unmap(self, vpn: int) -> PTE | None:
        """Take the entry of page `vpn` away and give it, or None; the tables stay."""
        leaf = self._leaf(vpn)
        return leaf.entries.pop(vpn & _MASK, None) if leaf else None

    def _directory_below(self, above: Directory, index: int) -> Directory:
        below = above.entries.get(index)
        if below is None:
            below = Directory(self.pool.fresh(FrameKind.TABLE), above.level - 1)
            above.entries[index] = below
        assert isinstance(below, Directory)
        return below

    def _leaf_below(self, above: Directory, index: int) -> LeafTable:
        below = above.entries.get(index)
        if below is None:
            below = LeafTable(self.pool.fresh(FrameKind.TABLE))
            above.entries[index] = below
        assert isinstance(below, LeafTable)
        return below

    def _leaf(self, vpn: int) -> LeafTable | None:
        table: Table | None = self.root
        while isinstance(table, Directory):
            table = table.entries.get(vpn >> BITS * (table.level - 1) & _MASK)
        return table

    # ------------------------------------------------------------------------------ looking

    def walk(self) -> Iterator[tuple[int, PTE]]:
        """Give each page that is mapped and its entry, in the order of addresses."""
        for base, leaf in sorted(self.leaves(), key=itemgetter(0)):
            for index in sorted(leaf.entries):
                yield base + index, leaf.entries[index]

    def ptes(self) -> Iterator[PTE]:
        """Give each leaf entry, in no order: the walk that counting does."""
        for _, leaf in self.leaves():
            yield from leaf.entries.values()

    def tables(self) -> list[TableSeen]:
        """List every table page, the root first, then in the order of addresses."""
        found: list[TableSeen] = []
        _collect(self.root, 0, found)
        return found

    def leaves(self) -> list[tuple[int, LeafTable]]:
        """List each table of level 1 and the first page of its span, in no order."""
        reached: list[tuple[int, Table]] = [(0, self.root)]
        for level in range(ROOT_LEVEL - 1, 0, -1):
            reached = [
                (base | index << BITS * level, below)
                for base, table in reached
                if isinstance(table, Directory)
                for index, below in table.entries.items()
            ]
        return [(base, leaf) for base, leaf in reached if isinstance(leaf, LeafTable)]

    # ------------------------------------------------------------------------------ freeing

    def free_tables(self, start: int, end: int, holds_vma: Callable[[int, int], bool]) -> None:
        """Free the tables that overlap pages [start, end) and whose span holds no VMA.

        `holds_vma(first, last)` tells whether a VMA lies in the pages [first, last). The root stays.
        """
        self._free_below(self.root, 0, start, end, holds_vma)

    def _free_below(self, above: Directory, base: int, start: int, end: int, holds_vma: Callable[[int, int], bool]) -> None:
        span = 1 << BITS * (above.level - 1)
        for index, below in list(above.entries.items()):
            first = base + index * span
            if first + span <= start or end <= first:
                continue
            if not holds_vma(first, first + span):
                self._free(above.entries.pop(index))
            elif isinstance(below, Directory):
                self._free_below(below, first, start, end, holds_vma)

    def _free(self, table: Table) -> None:
        if isinstance(table, Directory):
            for below in table.entries.values():
                self._free(below)
        self.pool.give_back(table.frame)

    def free_all(self) -> None:
        """Free every table, the root included; the tree must not be used afterwards."""
        self._free(self.root)


def _collect(table: Table, base: int, found: list[TableSeen]) -> None:
    if isinstance(table, LeafTable):
        found.append((1, base, table.frame))
        return
    found.append((table.level, base, table.frame))
    for index in sorted(table.entries):
        _collect(table.entries[index], base + (index << BITS * (table.level - 1)), found)
