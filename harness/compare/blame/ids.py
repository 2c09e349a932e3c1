"""The ids of contracts that a difference breaks, the most specific first."""

from __future__ import annotations

Ids = tuple[str, ...]


def unique(*groups: Ids) -> Ids:
    """Join `groups`, and keep of each id the first."""
    return tuple(dict.fromkeys(id for group in groups for id in group))
