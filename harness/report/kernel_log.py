"""Which lines of a long kernel log a report shows: the complaint, where it was made, and who called.

A debug kernel says much between the two: the page with the stacks of who allocated and freed it (PAGE_OWNER), the chain of
locks (lockdep), the bytes around an object (SLUB), registers. All of it is in the file of the failing program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BEFORE = 3
"""How many lines before the complaint are shown: "cut here", a line of equals signs, the flags of the page."""

_HEAD = 10
_PLACES = 2
_PLACE = re.compile(r"kernel BUG at |\bRIP: |\bpc : |\bWARNING: |\bBUG: ")
_TRACE = re.compile(r"\bCall [Tt]race:")


def excerpt(lines: Sequence[str], size: int) -> list[int]:
    """Choose the numbers of `size` of the `lines` of evidence, in order.

    The first line of evidence is the reason, the rest is the console, in which it comes again. What is shown begins with
    it, or so that the end is seen; where the backtrace lies further behind, its lines take the place of those between.
    """
    end = max(len(lines) - size, 0)
    again = next((number for number, line in enumerate(lines) if number and line.strip() == lines[0].strip()), None)
    if again is None:
        return list(range(end, len(lines)))
    first = max(again - BEFORE, 0)
    whole = list(range(min(first, end), len(lines)))[:size]
    trace = next((number for number in range(again, len(lines)) if _TRACE.search(lines[number])), None)
    if trace is None or trace + (size - _HEAD) // 2 in whole or len(lines) - 1 in whole:
        return whole
    head = range(first, min(first + _HEAD, trace))
    places = [number for number in range(head.stop, trace) if _PLACE.search(lines[number])][:_PLACES]
    chosen = [*head, *places]
    return [*chosen, *range(trace, len(lines))][:size]
