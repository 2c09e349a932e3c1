"""Pages, addresses and protections: the units in which programs speak.

A program never names a raw address. It names a *window*: a fixed slice of the user address space
with a letter (arena windows, where a program maps what it likes) or a word (image windows, pages of
the executable that `exec` lays out). The places are chosen so that small programs reach every level
of a four-level page table::

    window     first address   pages   why there
    a          0x100_0000_0000   16    first in a page table
    b          0x100_0001_0000   16    right behind a: its VMAs can merge with those of a
    c          0x100_001f_8000   16    straddles a 2 MiB line: two page tables
    d          0x100_4000_0000   16    another GiB: a page directory of its own
    h          0x100_4010_8000   16    as far above d as a stack keeps from other memory: 256 pages, give or take 7
    w          0x140_0000_0000 1026    two whole blocks of 2 MiB and two pages more: room for huge pages
    v          0x140_0080_0000 1026    as w, for what is moved from there
    e          0x180_0000_0000   16    another 512 GiB: an own entry in the root table
    text       0x1000_0000        2    executable, file backed, read only
    data       0x2000_0000        4    file backed, private, writable
    bss        0x2000_4000        4    anonymous, private, writable: right behind data
    heap       0x2000_8000       16    where the program break begins, right behind bss: empty after exec
    textend    0x101f_e000        4    the last pages of a text of more than 2 MiB, on both sides of that line
    bssend     0x201f_e000        4    the last pages of such a bss
    many     0x100_0008_0000  176    in the page table of a and b: room to map one page very often, not drawn at random

What exec puts into the image windows is the image's business (`image`): above is what the first image has there.

Of w and v a few pages are *watched*, those at the ends and in the middle of the blocks: they can be touched, and they are
what an observation shows. Ranges may begin and end anywhere.

Units: `npages`, `index` and `vpn` count pages of 4 KiB, `offset` and `length` count bytes.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

PAGE_SIZE = 4096
"""Bytes in a page. Every guest so far has 4 KiB pages; huge pages are leaves, not another unit."""


class Prot(enum.IntFlag):
    """Protection of a mapping; the bits are those of mmap(2)."""

    NONE = 0
    R = 1
    W = 2
    X = 4

    def __str__(self) -> str:
        """Give the text form: `none`, or the letters of `rwx` that are set."""
        letters = "".join(c for c, bit in zip("rwx", (1, 2, 4), strict=True) if self & bit)
        return letters or "none"

    @classmethod
    def parse(cls, text: str) -> Prot:
        """Read the text form. Raises ValueError where a letter is unknown, twice or misplaced."""
        if text == "none":
            return cls.NONE
        value = cls(sum(1 << "rwx".index(c) for c in text))
        if not text or str(value) != text:
            raise ValueError(text)
        return value


@dataclass(frozen=True, slots=True)
class Window:
    """A named slice of the user address space: `npages` pages from virtual page `vpn` on.

    Of a wide one only the pages of these indexes are `watched`, else all are.
    """

    name: str
    vpn: int
    npages: int
    watched: tuple[int, ...] = ()

    @property
    def is_arena(self) -> bool:
        """Tell whether programs map this window themselves (image windows come with exec)."""
        return len(self.name) == 1

    @property
    def indexes(self) -> Sequence[int]:
        """The pages that can be touched and are observed, by index, upwards."""
        return self.watched or range(self.npages)

    def runs(self, end: int | None = None) -> Iterator[PageRange]:
        """Give the watched pages (those below index `end`) as ranges of neighbours."""
        watched = [index for index in self.indexes if end is None or index < end]
        for _, neighbours in groupby(enumerate(watched), key=lambda each: each[1] - each[0]):
            indexes = [index for _, index in neighbours]
            yield PageRange(self.name, indexes[0], len(indexes))


_WATCHED = (0, 1, 2, 256, 510, 511, 512, 513, 767, 1022, 1023, 1024, 1025)
"""Of a wide window: both ends of each block of 2 MiB and what follows them, and a page in the middle of each."""

ARENA = (
    Window("a", 0x100_0000_0000 // PAGE_SIZE, 16),
    Window("b", 0x100_0001_0000 // PAGE_SIZE, 16),
    Window("c", 0x100_001F_8000 // PAGE_SIZE, 16),
    Window("d", 0x100_4000_0000 // PAGE_SIZE, 16),
    Window("h", 0x100_4010_8000 // PAGE_SIZE, 16),
    Window("w", 0x140_0000_0000 // PAGE_SIZE, 1026, _WATCHED),
    Window("v", 0x140_0080_0000 // PAGE_SIZE, 1026, _WATCHED),
    Window("e", 0x180_0000_0000 // PAGE_SIZE, 16),
)
IMAGE = (
    Window("text", 0x1000_0000 // PAGE_SIZE, 2),
    Window("data", 0x2000_0000 // PAGE_SIZE, 4),
    Window("bss", 0x2000_4000 // PAGE_SIZE, 4),
)
HEAP = Window("heap", 0x2000_8000 // PAGE_SIZE, 16)
FAR = (
    Window("textend", 0x101F_E000 // PAGE_SIZE, 4),
    Window("bssend", 0x201F_E000 // PAGE_SIZE, 4),
)
MANY = Window("many", 0x100_0008_0000 // PAGE_SIZE, 176)
WINDOWS = (*ARENA, *IMAGE, HEAP, *FAR, MANY)
WINDOW_BY_NAME = {window.name: window for window in WINDOWS}


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A byte of a window: page `index` of it (0-based), and `offset` bytes into that page."""

    window: str
    index: int
    offset: int = 0

    @property
    def vpn(self) -> int:
        """The virtual page number."""
        return WINDOW_BY_NAME[self.window].vpn + self.index

    @property
    def page(self) -> Address:
        """The address of the first byte of the page."""
        return Address(self.window, self.index)

    def __str__(self) -> str:
        """Give the text form: `a[2]` or `a[2]+17`."""
        tail = f"+{self.offset}" if self.offset else ""
        return f"{self.window}[{self.index}]{tail}"


@dataclass(frozen=True, slots=True, order=True)
class PageRange:
    """`npages` (1 or more) pages of one window from page `first` on, less `short` bytes at their end.

    System calls take a length in bytes for whole pages, the last of which may be begun only::

        a[0..1]        8192 bytes     both pages
        a[0..1]-4095   4097 bytes     both pages
        a[0]-4096      no byte        no page
    """

    window: str
    first: int
    npages: int
    short: int = 0

    @property
    def vpn(self) -> int:
        """The virtual page number of the first page."""
        return WINDOW_BY_NAME[self.window].vpn + self.first

    @property
    def length(self) -> int:
        """The length in bytes."""
        return self.npages * PAGE_SIZE - self.short

    @property
    def vpns(self) -> range:
        """The virtual page numbers of the pages that it has a byte of."""
        return range(self.vpn, self.vpn - -self.length // PAGE_SIZE)

    def __str__(self) -> str:
        """Give the text form: `a[2]` for one page, `a[2..4]` for more, `a[2..4]-100` for 100 bytes less."""
        last = self.first + self.npages - 1
        pages = f"{self.window}[{self.first}{f'..{last}' if self.npages > 1 else ''}]"
        return f"{pages}-{self.short}" if self.short else pages


def last_watched(pages: PageRange) -> Address:
    """Give the last page of a range that can be touched; the nearest below it where it has none."""
    end = pages.first + pages.npages
    return Address(pages.window, max(index for index in WINDOW_BY_NAME[pages.window].indexes if index < end))


def in_windows(start: int, end: int) -> Iterator[int]:
    """Give those of the virtual page numbers [start, end) that are watched in a window, in their order."""
    at = max(0, bisect_right(_FIRSTS, start) - 1)  # the span in which `start` lies, or the last below it
    while at < len(_SPANS) and _FIRSTS[at] < end:
        first, last = _SPANS[at]
        yield from range(max(start, first), min(end, last))
        at += 1


_SPANS = sorted((run.vpn, run.vpn + run.npages) for window in WINDOWS for run in window.runs())
_FIRSTS = [first for first, _ in _SPANS]


def is_watched(vpn: int) -> bool:
    """Tell whether an observation shows page `vpn`."""
    return vpn in _WATCHED_PAGES


def is_wide(vpn: int) -> bool:
    """Tell whether a page lies in a window that has room for whole blocks of 2 MiB."""
    return any(window.watched and window.vpn <= vpn < window.vpn + window.npages for window in WINDOWS)


_WATCHED_PAGES = frozenset(vpn for first, end in _SPANS for vpn in range(first, end))


def address_of(vpn: int, offset: int = 0) -> Address | None:
    """Turn a virtual page number back into the window's words; None outside every window."""
    for window in WINDOWS:
        if window.vpn <= vpn < window.vpn + window.npages:
            return Address(window.name, vpn - window.vpn, offset)
    return None
