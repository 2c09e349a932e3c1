"""Who holds a frame, in words, and the references that are nobody's for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from harness.model.counts import Holders
from harness.program.trace import FrameFlag, FrameSeen
from harness.program.units import PAGE_SIZE, PageRange, address_of


def transient_references(seen: FrameSeen) -> int:
    """Count the references that the kernel holds for a while, as the frame's own flags tell.

    A page that was just faulted in sits in this CPU's LRU batch, which holds one reference until it is drained; the
    LRU flag is set then, and not before. So a clear flag means exactly one more. And the swap cache holds a page that it
    has brought back, as long as there is nothing else to do with the slot. Source: folio_add_lru, lru_add_fn;
    add_to_swap_cache.
    """
    if seen.flags is None or seen.flags & FrameFlag.ZERO_PAGE:
        return 0
    in_batch = not seen.flags & FrameFlag.LRU
    return in_batch + bool(seen.flags & FrameFlag.SWAPCACHE)


def transient_text(seen: FrameSeen) -> str:
    """Name who holds those: " + 1 (LRU batch)"; empty where nobody does."""
    flags = FrameFlag(0) if seen.flags is None else seen.flags
    count = transient_references(seen)
    names = ["swap cache"] if flags & FrameFlag.SWAPCACHE else []
    if count > len(names):
        names.insert(0, "LRU batch")
    return f" + {count} ({', '.join(names)})" if count else ""


def holders_text(holders: Holders, *, cache: bool = True) -> str:
    """Name the holders of a frame: "p0 a[0], p1 a[0..3], the page cache"."""
    names = [_pages_text(*run) for run in _runs_of(sorted(holders.ptes))]
    if holders.idle:
        names.append(f"{holders.idle} idle children")
    if cache:
        names += unmapped_holders(holders)
    return ", ".join(names) or "nobody"


def _runs_of(places: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Give (process, first page, last page) of pages that lie side by side in one window."""
    for key, group in groupby(enumerate(places), key=lambda each: (each[1][0], each[1][1] - each[0], _window(each[1][1]))):
        vpns = [vpn for _, (_, vpn) in group]
        yield key[0], vpns[0], vpns[-1]


def _window(vpn: int) -> str:
    place = address_of(vpn)
    return place.window if place else ""


def _pages_text(number: int, first: int, last: int) -> str:
    place = address_of(first)
    if first == last or place is None:
        return place_text((number, first))
    return f"p{number} {PageRange(place.window, place.index, last + 1 - first)}"


def unmapped_holders(holders: Holders) -> list[str]:
    """Name those holders of a frame that do not map it."""
    names = []
    if holders.cached:
        names.append("the page cache")
    if holders.pins:
        names.append("the pipe" if holders.pins == 1 else f"the pipe, {holders.pins} times")
    if holders.fixed:
        names.append("a fixed buffer" if holders.fixed == 1 else f"a fixed buffer, which counts for {holders.fixed}")
    return names


def place_text(place: tuple[int, int] | None) -> str:
    """Name a page, given as (process, vpn): "p0 a[0]"."""
    if place is None:
        return "nobody"
    number, vpn = place
    return f"p{number} {address_of(vpn) or hex(vpn * PAGE_SIZE)}"
