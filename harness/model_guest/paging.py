"""Page tables, which are frames like all others, and the TLB in front of them.

A table is a frame of 512 little-endian words, four levels as on x86-64. The bits of an entry::

    63            52 51                                  12 11  9  8        3  2    1    0
    ┌───────────────┬──────────────────────────────────────┬──────┬───────────┬────┬────┬────┐
    │ 0             │ frame number                         │ ..COW│H DIRTY S 0│USER│WRIT│PRES│
    └───────────────┴──────────────────────────────────────┴──────┴───────────┴────┴────┴────┘

PRESENT without USER is a page that is protected away (PROT_NONE): resident, counted, out of reach.
HUGE (bit 7) stands in an entry of a table of level 1 that leads to no table: to 512 frames in a row, one huge page. It is
split, into a table with an entry for each, as soon as one of the 512 is to become different from the others.
SWAPPED (bit 5, S) without PRESENT is a page in swap: the frame number is that of its slot.
COW (bit 9, which the hardware ignores) is a pending right to write: the process may store, but only
after the kernel has looked whether the frame is its own. DIRTY (bit 6) is set by the CPU with a store: from what a
process was told that it may lose (MADV_FREE), a store since takes that away again.

Because tables live in frames, a table that is freed too early turns to junk (0x5a…, bit 0 clear: not
present) and later into somebody's data, and a walk through it goes where the bytes lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from harness.model_guest.frames import Frames
from harness.program.units import PAGE_SIZE

PRESENT = 1 << 0
WRITABLE = 1 << 1
USER = 1 << 2
SWAPPED = 1 << 5
DIRTY = 1 << 6
HUGE = 1 << 7
COW = 1 << 9
FLAGS = PRESENT | WRITABLE | USER | DIRTY | COW
TABLE = PRESENT | WRITABLE | USER
"""The bits of an entry that leads to a lower table."""

TOP = 3
"""The level of the root; level 0 holds the leaves."""

ENTRIES = 512
BITS = 9
"""Bits of the virtual page number that one level takes."""
_WORD = Struct("<Q")
_BLOCK = Struct("<64Q")
_EMPTY_BLOCK = bytes(_BLOCK.size)
_PFN_SHIFT = 12
_PFN_MASK = (1 << 40) - 1


def pfn_of(entry: int) -> int:
    """Give the frame number in an entry."""
    return entry >> _PFN_SHIFT & _PFN_MASK


def entry_of(pfn: int, bits: int) -> int:
    """Make an entry."""
    return pfn << _PFN_SHIFT | bits


def part_of(huge: int, index: int) -> int:
    """Give the entry that one of the 512 pages of a huge one would have by itself."""
    return (huge & ~HUGE) + (index << _PFN_SHIFT)


def permits(entry: int, *, write: bool) -> bool:
    """Tell whether the hardware lets a user access through this entry."""
    needed = PRESENT | USER | (WRITABLE if write else 0)
    return entry & needed == needed


class PageTables:
    """The code that reads and writes tables. It holds none: a caller brings the root's frame number."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.planted = frames.planted
        self.count = 0
        """Count of frames that are page tables."""
        self.was_split: range | None = None
        """The pages of the huge page that was split last, and not looked at since."""

    def new_table(self) -> int:
        """Give an empty table. Raises OutOfMemory."""
        pfn = self.frames.allocate()
        self.count += 1
        return pfn

    def free_table(self, pfn: int) -> None:
        """Free the frame of one table, and nothing that it points to."""
        self.count -= 1
        self.frames.free(pfn)

    def entries(self, table: int, *, bits: int = PRESENT) -> list[tuple[int, int]]:
        """List (index, entry) of those entries of one table that have any of `bits`: the present ones."""
        data = self.frames[table].data
        found: list[tuple[int, int]] = []
        for start in range(0, PAGE_SIZE, _BLOCK.size):
            if data[start : start + _BLOCK.size] != _EMPTY_BLOCK:
                words = _BLOCK.unpack_from(data, start)
                first = start // _WORD.size
                found += [(first + i, word) for i, word in enumerate(words) if word & bits]
        return found

    def write(self, table: int, index: int, entry: int) -> None:
        """Set one entry of one table."""
        _WORD.pack_into(self.frames[table].data, index * _WORD.size, entry)

    def lookup(self, root: int, vpn: int) -> int:
        """Give the leaf entry for a virtual page, 0 where a table on the way is missing."""
        word = self._above_leaf(root, vpn)
        return self._leaf(word, vpn) if word else 0

    def frame_at(self, root: int | None, vpn: int) -> int | None:
        """Give the frame that a virtual page is mapped to, None where it is not."""
        entry = 0 if root is None else self.lookup(root, vpn)
        return pfn_of(entry) if entry & PRESENT else None

    def lookup_range(self, root: int, vpns: range) -> list[int]:
        """Give the leaf entries of consecutive virtual pages, 0 where there is none."""
        found: list[int] = []
        vpn = vpns.start
        while vpn < vpns.stop:
            stop = min(vpns.stop, vpn - vpn % ENTRIES + ENTRIES)
            word = self._above_leaf(root, vpn)
            found += [self._leaf(word, each) if word else 0 for each in range(vpn, stop)]
            vpn = stop
        return found

    def leaves(self, root: int, level: int = TOP, base: int = 0) -> Iterator[tuple[int, int]]:
        """Give (virtual page, entry) of each present leaf entry below a table."""
        for index, entry in self.entries(root):
            first = base + (index << BITS * level)
            if level == 0:
                yield first, entry
            elif entry & HUGE:
                yield from ((first + i, part_of(entry, i)) for i in range(ENTRIES))
            else:
                yield from self.leaves(pfn_of(entry), level - 1, first)

    def store(self, root: int, vpn: int, entry: int) -> None:
        """Set the leaf entry of a virtual page, and make the tables on the way. Raises OutOfMemory."""
        table = root
        for level in range(TOP, 0, -1):
            index = vpn >> 9 * level & 511
            word = self._read(table, index)
            if word & HUGE:
                if entry == part_of(word, vpn % ENTRIES):
                    return
                word = self.split_at(table, index, vpn)
            elif not word & PRESENT:
                word = entry_of(self.new_table(), TABLE)
                self.write(table, index, word)
            table = pfn_of(word)
        self.write(table, vpn % ENTRIES, entry)

    # ------------------------------------------------------------------- huge pages

    def huge_at(self, root: int, vpn: int) -> int:
        """Give the entry of the huge page in which a virtual page lies; 0 where it lies in none."""
        word = self._above_leaf(root, vpn)
        return word if word & HUGE else 0

    def is_empty_at(self, root: int, vpn: int) -> bool:
        """Tell whether nothing is mapped in the 2 MiB around a virtual page."""
        word = self._above_leaf(root, vpn)
        return not word or (not word & HUGE and not self.entries(pfn_of(word), bits=PRESENT | SWAPPED))

    def store_huge(self, root: int, vpn: int, entry: int) -> None:
        """Set the entry of the huge page at `vpn`; a table that is there goes. Raises OutOfMemory."""
        table = root
        for level in range(TOP, 1, -1):
            index = vpn >> BITS * level & ENTRIES - 1
            word = self._read(table, index)
            if not word & PRESENT:
                word = entry_of(self.new_table(), TABLE)
                self.write(table, index, word)
            table = pfn_of(word)
        index = vpn >> BITS & ENTRIES - 1
        old = self._read(table, index)
        if old & PRESENT and not old & HUGE:
            self.free_table(pfn_of(old))
        self.write(table, index, entry | HUGE)

    def split_at(self, table: int, index: int, vpn: int) -> int:
        """Split the huge page at `vpn`, entry `index` of a table of level 1. Returns its new entry. Raises OutOfMemory."""
        word = self._split(self._read(table, index), vpn)
        self.write(table, index, word)
        return word

    def _split(self, huge: int, vpn: int) -> int:
        """Make a table of what a huge page at `vpn` maps. Returns the entry that leads to it. Raises OutOfMemory."""
        table = self.new_table()
        if "huge-split-leaks-table" in self.planted:  # planted: one that was set apart for this is not used, nor given back
            self.new_table()
        if "huge-split-loses-cow" in self.planted and huge & COW:  # planted: a right that is pending is a right
            huge = huge & ~COW | WRITABLE
        for index in range(ENTRIES):
            self.write(table, index, part_of(huge, index))
            if "huge-split-forgets-counts" in self.planted:  # planted: who splits takes the frames for its own
                frame = self.frames[pfn_of(huge) + index]
                frame.refcount = frame.mapcount = 1
        self.was_split = range(vpn - vpn % ENTRIES, vpn - vpn % ENTRIES + ENTRIES)
        return entry_of(table, TABLE)

    def _leaf(self, word: int, vpn: int) -> int:
        return part_of(word, vpn % ENTRIES) if word & HUGE else self._read(pfn_of(word), vpn % ENTRIES)

    def _above_leaf(self, root: int, vpn: int) -> int:
        """Give the entry of level 1 for a virtual page: it leads to a table, or is a huge page; 0 where there is none."""
        table = root
        for level in range(TOP, 1, -1):
            word = self._read(table, vpn >> BITS * level & ENTRIES - 1)
            if not word & PRESENT:
                return 0
            table = pfn_of(word)
        word = self._read(table, vpn >> BITS & ENTRIES - 1)
        return word if word & PRESENT else 0

    def _read(self, table: int, index: int) -> int:
        word: int = _WORD.unpack_from(self.frames[table].data, index * _WORD.size)[0]
        return word


class Tlb:
    """The translations that the CPU remembers; it asks the tables only for what is not here.

    The kernel has to flush what it changes for the worse. Moving to another address space flushes all.
    """

    SIZE = 64
    """Entries; the oldest makes room."""

    def __init__(self) -> None:
        self.root: int | None = None
        self._entries: dict[int, int] = {}

    def switch(self, root: int | None) -> None:
        """Load the root register. Loading what it holds changes nothing."""
        if root != self.root:
            self.root = root
            self._entries.clear()

    def get(self, vpn: int) -> int:
        """Give the remembered entry of a page, 0 where there is none."""
        return self._entries.get(vpn, 0)

    def remember(self, vpn: int, entry: int) -> None:
        """Remember the entry that a walk found."""
        if len(self._entries) >= self.SIZE:
            del self._entries[next(iter(self._entries))]
        self._entries[vpn] = entry

    def forget(self, vpn: int) -> None:
        """Flush one page."""
        self._entries.pop(vpn, None)

    def flush(self) -> None:
        """Flush all."""
        self._entries.clear()
