"""A story about more pages than it has: each of its pages becomes a few, and what touches one touches the last of them.

A story names as few pages as it takes, so that it is read with ease. But much that goes wrong does so for the second or the
last page of a range alone: what is flushed, unmapped, or taken from the other mappings of a file page by page, up to an end
that somebody computed. So a story is told of wider ranges now and then, and nobody writes it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from harness.program.ops import Op
from harness.program.program import Program, places
from harness.program.units import Address, PageRange

WINDOW = "a"
"""The window in which stories lie."""

MOST_PAGES = 8
"""So many pages a stretched story has at most: every one of them has to be looked at."""


def stretched(story: Program, times: int) -> Program:
    """Make each page of window a `times` pages, where that makes no more than `MOST_PAGES`; else give the story as it is.

    An address keeps its offset, in the last of its pages; a length keeps the bytes that it is short of whole pages.
    """
    if times == 1 or reach(story) * times > MOST_PAGES:
        return story

    def widen(place: Address | PageRange) -> Address | PageRange:
        if isinstance(place, Address):
            return replace(place, index=place.index * times + times - 1)
        npages = place.npages * times if place.length else place.npages
        return replace(place, first=place.first * times, npages=npages)

    return Program(tuple(with_places(op, widen) for op in story.steps), story.title)


def with_places(op: Op, change: Callable[[Address | PageRange], Address | PageRange]) -> Op:
    """Change the places of `op` that lie in window a."""
    values = ((each.name, getattr(op, each.name)) for each in fields(op))
    changed: dict[str, Any] = {
        name: change(value) for name, value in values if isinstance(value, Address | PageRange) and value.window == WINDOW
    }
    return replace(op, **changed) if changed else op


def reach(story: Program) -> int:
    """Give how many pages of window a it takes for the story to be told."""
    operands = [place for op in story.steps for place in places(op)]
    return 1 + max((page for place in operands for window, page in pages_of(place) if window == WINDOW), default=0)


def pages_of(place: Address | PageRange) -> set[tuple[str, int]]:
    """Give the pages of an operand, by window and index."""
    if isinstance(place, Address):
        return {(place.window, place.index)}
    return {(place.window, place.first + i) for i in range(place.npages)}
