"""One difference between the guest and the model at one observation, before it is known which contracts it breaks."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.model.frame import Frame as ModelFrame


class Topic(enum.Enum):
    """What a difference is about."""

    PROCESSES = "which processes live"
    VMAS = "the VMAs of a process"
    ABSENT = "a page is absent that was touched"
    PRESENT = "a page is present that nobody touched"
    BUDGET = "more pages are present that nobody touched than the kernel says"
    NOT_SHARED = "two pages should share a frame and do not"
    SHARED = "two pages share a frame and should not"
    MOVED = "a page changed its frame"
    ZERO = "a page should, or should not, be the zero page"
    MAPCOUNT = "a frame's mapcount"
    REFCOUNT = "a frame's refcount"
    FORBIDDEN = "a page is writable that its VMA forbids to write"
    WRITABLE = "a page is writable and not its process's alone"
    BYTES = "what a page holds"
    RSS = "what a process's resident set is counted as"
    SIZE = "what the size of an address space is counted as"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference at one observation. `vpn` and `frame` are None where they have no meaning."""

    topic: Topic
    process: int
    vpn: int | None
    expected: str
    observed: str
    frame: ModelFrame | None = None
    offset: int | None = None
    """The first byte that differs, in bytes into the page."""
    value: int | None = None
    """The byte that was observed there."""
    partner: tuple[int, int] | None = None
    """The other (process, vpn) of a pair of pages."""
    excess: int = 0
    """How much higher than expected a count is (negative: lower); where pages share a frame, how much higher its mapcount
    is than the number of pages that show it."""
    prefaulted: bool = False
    """Whether a page of the frame is there though its process has not touched it."""
