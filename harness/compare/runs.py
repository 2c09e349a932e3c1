"""The bytes of a page as they are reported, run-length encoded, and as the model has them."""

from __future__ import annotations

from harness.program.trace import Runs
from harness.program.units import PAGE_SIZE


def expand(runs: Runs) -> bytes:
    """Undo the run-length encoding. Runs that claim more than a page are cut."""
    return b"".join(bytes([value]) * min(length, PAGE_SIZE) for value, length in runs)[:PAGE_SIZE]


def runs_match(runs: Runs, content: bytes) -> bool:
    """Tell whether run-length encoded bytes are exactly `content`."""
    at = 0
    for value, length in runs:
        if content.count(value, at, at + length) != length:
            return False
        at += length
    return at == len(content)


def describe_runs(runs: Runs, *, most: int = 4) -> str:
    """Say what a page holds in a few words: "11 ×1, 00 ×4095"."""
    shown = [f"{value:02x} ×{length}" for value, length in runs[:most]]
    return ", ".join(shown) + (", …" if len(runs) > most else "")
