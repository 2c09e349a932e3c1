"""One planted fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: what is wrong, and which contracts it breaks (the most telling one first)."""

    name: str
    sentence: str
    contracts: tuple[str, ...]
