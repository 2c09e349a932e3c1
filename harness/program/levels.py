"""Observation levels: what a contract needs to see, and what a guest can show.

A guest's levels are probed at boot, never derived from its version. A contract whose level a guest cannot
show is skipped with that reason, and a skip is never a pass.
"""

from __future__ import annotations

import enum


class Level(enum.Enum):
    """One kind of observation. The value completes the sentence "the guest shows …"."""

    OUTCOMES = "values read, exit statuses, signals and errnos"
    MAPPINGS = "VMAs"
    FRAMES = "which pages are present, which share a frame, and whether a page keeps it"
    MAPCOUNTS = "how many page-table entries map a frame"
    REFCOUNTS = "how many holders a frame has"
    PTE_BITS = "writable, dirty and accessed bits"
    PAGE_TABLES = "how many frames the page tables take"
    RSS = "how many pages of each kind the kernel counts for a process"
    SIZE = "how large the kernel takes an address space to be"
    ACCOUNTING = "fault counts and free memory"
    ALIVE = "whether it lives: panics, hangs and deaths"

    def __str__(self) -> str:
        """Give the word used in contracts and reports, such as `mapcounts`."""
        return self.name.lower()
