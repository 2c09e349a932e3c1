"""How what a story maps comes to be: at once, out of pieces that become one, or taken apart and put together again.

A kernel keeps neighbours that are alike as one record. It cuts the record where a part of it becomes different, joins
it where the parts are alike again, and moves the border between two where a part changes sides; it does so for mmap and
for mprotect, upwards and downwards, with one neighbour or with both. Each has its own arithmetic of offsets, counts, and
holds on what is mapped, and what goes wrong there shows in whatever is done to the mapping later. So any story may begin
with it::

    step by step                           what there is
    UPWARDS    map [0..k)  map [k..n)      the lower one grows
    DOWNWARDS  map [k..n)  map [0..k)      the upper one grows, downwards
    GAP        map both ends, then between three become one
    ALIKE      map [k..n) otherwise, and protect it as the rest
    MENDED     protect a part otherwise, and back
    RISING     protect [k..n) otherwise, then back page k alone: the border moves up
    SINKING    protect [k..n) otherwise, then page k-1 too: the border moves down

In the middle of it a page may be touched, since what was touched is kept otherwise than what was not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.program.files import FILES, MAX_FILE_PAGES
from harness.program.ops import Backing, Load, Map, Op, Placement, Populate, Protect, Store
from harness.program.units import Address, PageRange, Prot

VALUE = 0x6D
"""The byte that is stored where a page is touched in the middle of a making."""


class Way(enum.Enum):
    """The way in which a mapping is made; see the head of this module."""

    UPWARDS = enum.auto()
    DOWNWARDS = enum.auto()
    GAP = enum.auto()
    ALIKE = enum.auto()
    MENDED = enum.auto()
    RISING = enum.auto()
    SINKING = enum.auto()


@dataclass(frozen=True, slots=True)
class Making:
    """A way to make a mapping: where it is cut, as a number of any size, and how the upper part is touched meanwhile."""

    way: Way
    cut: int = 0
    touch: type[Op] | None = None


MAKINGS: tuple[Making, ...] = tuple(
    Making(way, cut, touch) for way in Way for cut in range(3) for touch in (None, Load, Store)
)
"""All that is drawn: each way, cut behind one of the first three pages, touched or not."""

MOST_MADE = 5
"""The most steps that a making takes."""

OTHERWISE = {Prot.R | Prot.W: Prot.R | Prot.W | Prot.X}
"""How a part is protected before it is as the rest; `Prot.NONE` where nothing is said, and back to it from `Prot.R`.
Who may store to one part may mostly store to the other, so that a touch is none in vain.
"""


def may_be_made(op: Map) -> bool:
    """Tell whether a mapping can be put together: it has two pages, and nothing is asked for but where they are."""
    return op.pages.npages > 1 and op.pages.short == 0 and (op.placement, op.populate) == (Placement.FIXED, Populate.NO)


def made(op: Map, making: Making) -> Iterator[Op]:
    """Give the steps that make the mapping `op`, of which `may_be_made` is true. At the end all pages are as it says.

    What takes three pages is, where there are two, done the nearest way that two allow.
    """
    n = op.pages.npages
    k = 1 + making.cut % (n - 1)
    lower, upper = _part(op.pages, 0, k), _part(op.pages, k, n)
    other = _otherwise(op.prot)
    touch = _touched(op, upper, making.touch)
    match making.way:
        case Way.UPWARDS:
            yield from (_piece(op, lower), *_touched(op, lower, making.touch), _piece(op, upper))
        case Way.DOWNWARDS:
            yield from (_piece(op, upper), *touch, _piece(op, lower))
        case Way.GAP:
            yield from (_piece(op, _part(op.pages, 0, 1)), _piece(op, _part(op.pages, n - 1, n)))
            yield from touch
            yield from (_piece(op, _part(op.pages, 1, n - 1)),) if n > 2 else ()
        case Way.ALIKE:
            yield from (_piece(op, lower), _piece(op, upper, other), *touch, Protect(op.process, upper, op.prot))
        case Way.MENDED:
            part = (lower, upper, _part(op.pages, 1, max(2, n - 1)))[making.cut % 3]
            yield from (op, Protect(op.process, part, other))
            yield from (*_touched(op, part, making.touch), Protect(op.process, part, op.prot))
        case Way.RISING:
            yield from (op, Protect(op.process, upper, other), *touch)
            yield Protect(op.process, _part(op.pages, k, k + 1), op.prot)
            yield from (Protect(op.process, _part(op.pages, k + 1, n), op.prot),) if k + 1 < n else ()
        case Way.SINKING:
            yield from (op, Protect(op.process, upper, other), *touch)
            yield Protect(op.process, _part(op.pages, k - 1, k), other)
            yield Protect(op.process, _part(op.pages, k - 1, n), op.prot)


def backing_from(op: Map, first: int) -> Backing:
    """Give what a mapping would be of that begins at page `first` of the window of `op`, and goes on with what `op` maps:
    of a file the page that lies there, or the nearest that a mapping may begin with.
    """
    pgoff = op.backing.pgoff + first - op.pages.first
    return replace(op.backing, pgoff=min(max(pgoff, 0), MAX_FILE_PAGES)) if op.backing.name in FILES else op.backing


def _part(pages: PageRange, first: int, end: int) -> PageRange:
    return replace(pages, first=pages.first + first, npages=end - first)


def _piece(op: Map, pages: PageRange, prot: Prot | None = None) -> Map:
    """Map a part of what `op` maps, of the same pages of its file."""
    return replace(op, pages=pages, prot=op.prot if prot is None else prot, backing=backing_from(op, pages.first))


def _otherwise(prot: Prot) -> Prot:
    return OTHERWISE.get(prot, Prot.R if prot is Prot.NONE else Prot.NONE)


def _touched(op: Map, pages: PageRange, touch: type[Op] | None) -> tuple[Op, ...]:
    """Touch the last page of a part."""
    at = Address(pages.window, pages.first + pages.npages - 1)
    if touch is None:
        return ()
    return (Store(op.process, at, VALUE) if touch is Store else Load(op.process, at),)
