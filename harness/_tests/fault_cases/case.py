"""A program on which a planted fault shows."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model_guest.features import Feature


@dataclass(frozen=True)
class Case:
    """A program on which a fault shows, and the part of the trace in which it does."""

    shows_in: str
    program: str
    total_frames: int = 1 << 14
    features: tuple[Feature, ...] = ()
    """What the sound kernel can do, to which the broken one is compared, as that can."""
