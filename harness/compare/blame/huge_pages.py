"""The contract that speaks of huge pages, for what went wrong where there may have been some."""

from __future__ import annotations

from harness.compare.blame.ids import Ids, unique
from harness.compare.verdict import Divergence
from harness.program.program import Program
from harness.program.units import WINDOW_BY_NAME

_WIDE = {window.name for window in WINDOW_BY_NAME.values() if window.watched}


def with_huge_pages(program: Program, found: Divergence) -> Ids:
    """Give the contracts that a divergence breaks, that of huge pages last: where it is at a page of a wide window, or, in
    a program that uses one, at no page at all.
    """
    window = found.where.partition("[")[0].split()[-1] if "[" in found.where else ""
    is_about = window in _WIDE if window else bool(_WIDE & set(program.windows))
    return unique(found.contracts, ("huge.transparent",) if is_about else ())
