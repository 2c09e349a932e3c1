"""A program on which a planted fault shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A program on which a fault shows, and the part of the trace in which it does."""

    shows_in: str
    program: str
    total_frames: int = 1 << 14
    prefaults: bool = False
    """Whether the sound kernel, to which the broken one is compared, brings pages in early as that does."""
    has_huge_pages: bool = False
    """Whether it has huge pages, as that has."""
