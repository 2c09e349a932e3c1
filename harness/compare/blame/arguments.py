"""Which contracts are about unusual arguments: of mmap(2) and its family, and of a store through /proc/PID/mem."""

from __future__ import annotations

from harness.compare.blame.ids import Ids, unique
from harness.compare.timeline import Timeline
from harness.program.ops import Force, Map, Op, Placement, Poke, Populate, Remap
from harness.program.program import places
from harness.program.units import Address, PageRange


def by_arguments(timeline: Timeline, vpns: set[int]) -> Ids:
    """Name the contracts of such arguments by which one of the pages was named before."""
    ids: Ids = ()
    for _, op in timeline.steps():
        if not named_by(op).isdisjoint(vpns):
            ids = unique(ids, _unusual(op))
    return ids


def by_populate(timeline: Timeline, vpn: int) -> Ids:
    """Where the page was populated once, what is wrong with its frame or its entry may be wrong since then."""
    populated = (op for _, op in timeline.steps() if isinstance(op, Map) and op.populate is Populate.YES)
    return _POPULATE if any(vpn in named_by(op) for op in populated) else ()


_POPULATE: Ids = ("mmap.populate",)


def _unusual(op: Op) -> Ids:
    return (
        *(("mremap.duplicates",) if isinstance(op, Remap) and not op.pages.length else ()),
        *(("mmap.noreplace",) if isinstance(op, Map) and op.placement is not Placement.FIXED else ()),
        *(_POPULATE if isinstance(op, Map) and op.populate is Populate.YES else ()),
        *(("foll-force.private-only",) if isinstance(op, Force | Poke) and op.length > 1 else ()),
        *(("length.rounds-up",) if any(isinstance(place, PageRange) and place.short for place in places(op)) else ()),
    )


def named_by(op: Op) -> set[int]:
    """Give the pages that the operands of `op` name, also where they have no length."""
    return {vpn for place in places(op) for vpn in _named(place)}


def _named(place: Address | PageRange) -> range:
    return range(place.vpn, place.vpn + (place.npages if isinstance(place, PageRange) else 1))
