"""The contracts that speak of memory of a special kind, for what went wrong where there may have been some."""

from __future__ import annotations

from harness.compare.blame.ids import Ids, unique
from harness.compare.verdict import Divergence
from harness.program.files import SHM
from harness.program.ops import Advice, Advise, Map, Remap
from harness.program.program import Program
from harness.program.units import WINDOW_BY_NAME


def with_special(program: Program, found: Divergence, *, swaps: bool) -> Ids:
    """Give the contracts that a divergence breaks, those of huge pages, of segments and of swap last.

    It is theirs where it is at a page of a wide window, or of one in which a segment was attached, or from which a kernel
    that `swaps` was to page something out; or, in a program that has such memory, at no page at all.
    """
    wide = {window.name for window in WINDOW_BY_NAME.values() if window.watched}
    segments = {op.pages.window for op in program.steps if isinstance(op, Map) and op.backing.name == SHM}
    paged_out = {op.pages.window for op in program.steps if isinstance(op, Advise) and op.advice is Advice.PAGEOUT}
    moved_to = {op.to.window for op in program.steps if isinstance(op, Remap)} if paged_out else set()
    return unique(
        found.contracts,
        ("huge.transparent",) if _is_about(found, wide & set(program.windows)) else (),
        ("shm.lives-while-attached",) if _is_about(found, segments) else (),
        ("swap.transparent",) if swaps and _is_about(found, paged_out | moved_to) else (),
    )


def _is_about(found: Divergence, windows: set[str]) -> bool:
    at = found.where.partition("[")[0].split()[-1] if "[" in found.where else ""
    return at in windows if at else bool(windows)
