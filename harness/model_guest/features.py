"""What the toy kernel can do beyond what every kernel does; it can where it is told to, or has a fault of doing so."""

from __future__ import annotations

import enum


class Feature(enum.Enum):
    """Something that a kernel may have, or not."""

    PREFAULT = "pages come before they are touched (see `prefault`)"
    HUGE_PAGES = "private anonymous memory may come 2 MiB at a time (see `huge_pages`)"
    SWAP = "what is paged out goes to swap (see `swap`)"


Features = frozenset[Feature]
NONE: Features = frozenset()
