"""Which contracts a difference between an observation and the state of the model breaks."""

from __future__ import annotations

from collections.abc import Callable

from harness.compare.blame.arguments import by_arguments, by_populate
from harness.compare.blame.departures import (
    MANY,
    after_failed_exec,
    after_teardown,
    by_advice,
    by_departures,
    by_loss,
    kept_by_failed_fork,
    may_have_gone,
    shared_space,
)
from harness.compare.blame.ids import Ids, unique
from harness.compare.blame.outcome import lost_to_limit
from harness.compare.blame.wrong_byte import bytes_of_file, isolation, unwiped, wrong_byte
from harness.compare.difference import Difference, Topic
from harness.compare.timeline import Timeline, shaped
from harness.program.ops import (
    Advise,
    Brk,
    Exec,
    Map,
    Mirror,
    Op,
    Protect,
    Refuse,
    Remap,
    Roam,
    Starve,
    Unmap,
)
from harness.program.units import PAGE_SIZE


def wrong_state(timeline: Timeline, difference: Difference) -> Ids:
    """Blame a difference between an observation and the model's state."""
    ids = _BY_TOPIC[difference.topic](timeline, difference)
    return unique(
        ids,
        ("prefault.transparent",) if difference.prefaulted else (),
        kept_by_failed_fork(timeline) if difference.topic in _COUNTED else (),
        after_failed_exec(timeline.program.steps) if difference.topic in _MAPPED else (),
        lost_to_limit(timeline) if difference.topic in _MAPPED else (),
        by_arguments(timeline, {difference.vpn}) if difference.vpn is not None and difference.topic in _MAPPED else (),
        by_populate(timeline, difference.vpn) if difference.vpn is not None and difference.topic in _ENTERED else (),
        shared_space(timeline, difference.process),
    )


_MAPPED = (Topic.VMAS, Topic.ABSENT, Topic.PRESENT, Topic.BYTES)
"""What is different where a mapping went, or came, that should not."""


_ENTERED = (Topic.ZERO, Topic.MAPCOUNT, Topic.REFCOUNT, Topic.WRITABLE, Topic.FORBIDDEN)
"""What is different where an entry was made otherwise than it should be."""


_COUNTED = (Topic.MAPCOUNT, Topic.REFCOUNT, Topic.MOVED)
"""What is different where a holder stayed that should not."""


def _bytes(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    return wrong_byte(timeline, it.process, it.vpn, offset=it.offset, value=it.value)


def _vmas(timeline: Timeline, it: Difference) -> Ids:
    changes = [op for _, op in timeline.steps() if op.process == it.process and (shaped(op) or isinstance(op, Exec | Brk))]
    if not changes:
        return _inherited_vmas(timeline, it)
    if isinstance(changes[-1], Advise):
        return unique(by_advice(changes[-1]), ("mmap.geometry",))
    words: dict[type[Op], Ids] = {
        Map: ("mmap.fixed-replaces",),
        Mirror: ("mmap.fixed-replaces",),
        Unmap: ("munmap.exact",),
        Protect: ("mprotect.last-one-counts",),
        Remap: ("mremap.preserves",),
        Roam: ("mremap.preserves",),
        Brk: ("brk.exact",),
        Exec: ("exec.drops-all",),
    }
    return unique(words[type(changes[-1])], ("mmap.geometry",))


def _inherited_vmas(timeline: Timeline, it: Difference) -> Ids:
    change = None if it.vpn is None else timeline.last_change(it.process, it.vpn)
    advised = by_advice(change[1]) if change and isinstance(change[1], Advise) else ()
    return unique(advised, ("fork.inherits-vmas",) if it.process in timeline.parent else (), ("mmap.geometry",))


_ENDED: dict[type[Op], Ids] = {
    Unmap: ("munmap.exact",),
    Remap: ("mremap.preserves",),
    Brk: ("brk.exact",),
    Exec: ("exec.drops-all",),
}
"""The contracts of the operations after which a page may be mapped no more."""


def _present(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    if it.expected == "not mapped":
        change = timeline.last_change(it.process, it.vpn)
        ids: Ids = _ENDED.get(type(change[1]), ()) if change else ()
        return unique(ids, _advised(timeline, it), ("page.present",), after_teardown(timeline))
    early = (*_advised(timeline, it), "prefault.budget", "page.present", *after_teardown(timeline))
    return unique(_cut(timeline, it), early)


def _cut(timeline: Timeline, it: Difference) -> Ids:
    """A page that a file has lost may be there still, or may be gone though it is the file's."""
    return () if it.vpn is None else by_loss(timeline, timeline.vma(it.process, it.vpn))


def _over_budget(timeline: Timeline, it: Difference) -> Ids:
    populated = by_populate(timeline, it.vpn) if it.vpn is not None else ()
    return ("prefault.budget", *populated, *after_teardown(timeline))


def _advised(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    change = timeline.last_change(it.process, it.vpn)
    if change and isinstance(change[1], Advise):
        return unique(by_advice(change[1]), may_have_gone(timeline.advice_to_page(it.process, it.vpn)))
    return unwiped(timeline, it.process, it.vpn)


def _absent(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    change = timeline.last_change(it.process, it.vpn)
    moved: Ids = ("mremap.preserves",) if change and isinstance(change[1], Remap) else ()
    return unique(moved, _cut(timeline, it), _advised(timeline, it), ("page.present",), after_teardown(timeline))


def _shared(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    tail: Ids = ("cache.private-write-stays-out",) if bytes_of_file(timeline, it.process, it.vpn) < PAGE_SIZE else ()
    if it.partner is None or not timeline.akin((it.process, it.vpn), it.partner):
        return (*tail, "alloc.never-twice", "batch.distinct-zeroed", *after_teardown(timeline))
    wiped = _advised(timeline, it)
    pair = {it.process, it.partner[0]}
    ids: Ids = ()
    vpns = dict([(it.process, it.vpn), it.partner])
    for stored in timeline.stores(it.process, it.vpn):
        victim = (pair - {stored.process} or pair).pop()
        if stored.process in pair and stored not in timeline.inherited(victim, vpns[victim]):
            ids = unique(ids, isolation(timeline, writer=stored.process, victim=victim))
    # more pages than entries: they are in one table, which two address spaces have
    tables = after_teardown(timeline) if it.excess < 0 else ()
    return unique(ids, tail, wiped, ("alloc.never-twice",), tables)


def _moved(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    assert it.frame is not None
    touched = [s for s in timeline.stores(it.process, it.vpn) if s.process == it.process]
    change = timeline.last_change(it.process, it.vpn)
    if change and isinstance(change[1], Remap):
        return ("mremap.preserves", "frame.stays")
    if touched and timeline.left(it.frame):
        return ("cow.sole-owner-reuses", "frame.stays")
    return ("frame.stays", "cow.sole-owner-reuses") if touched else ("frame.stays",)


def _count(general: str) -> Callable[[Timeline, Difference], Ids]:
    def blame(timeline: Timeline, it: Difference) -> Ids:
        assert it.frame is not None
        many: Ids = ("count.many-sharers",) if timeline.most_holders(it.frame) >= MANY else ()
        pinned: Ids = ("cow.pinned-is-not-exclusive",) if it.frame in timeline.pinned else ()
        return unique((general,), many, by_departures(timeline, it.frame) or _kept_by_cache(timeline, it), pinned)

    return blame


def _kept_by_cache(timeline: Timeline, it: Difference) -> Ids:
    """Where a private page of a file has a holder too many, and nobody has let go of it, the page cache may hold it."""
    vma = timeline.vma(it.process, it.vpn) if it.vpn is not None else None
    is_private = vma is not None and vma.file is not None and not vma.shared
    return ("cache.private-write-stays-out",) if it.topic is Topic.REFCOUNT and it.excess > 0 and is_private else ()


def _writable(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    change = timeline.last_change(it.process, it.vpn)
    protected = change is not None and isinstance(change[1], Protect)
    return ("cow.no-writable-shared", *(("mprotect.never-breaks-isolation",) if protected else ()))


def _fixed(*ids: str) -> Callable[[Timeline, Difference], Ids]:
    return lambda *_: ids


_BY_TOPIC: dict[Topic, Callable[[Timeline, Difference], Ids]] = {
    Topic.PROCESSES: _fixed("conserve.process"),
    Topic.VMAS: _vmas,
    Topic.ABSENT: _absent,
    Topic.PRESENT: _present,
    Topic.BUDGET: _over_budget,
    Topic.NOT_SHARED: _fixed("fork.shares-frames", "frame.stays"),
    Topic.SHARED: _shared,
    Topic.MOVED: _moved,
    Topic.ZERO: _fixed("zero.page-stays-zero"),
    Topic.MAPCOUNT: _count("count.mapcount"),
    Topic.REFCOUNT: _count("count.equals-references"),
    Topic.FORBIDDEN: _fixed("mprotect.last-one-counts"),
    Topic.WRITABLE: _writable,
    Topic.BYTES: _bytes,
    Topic.RSS: _fixed("account.rss"),
    Topic.SIZE: _fixed("account.size"),
}


def leftover(step_kinds: set[type[Op]]) -> Ids:
    """Blame frames that were not given back when everybody was gone."""
    ids: Ids = ("conserve.frames", "exit.drops-all")
    ids = (*ids, "exec.drops-all") if Exec in step_kinds else ids
    return (*ids, "fork.failed-is-no-op") if step_kinds & {Starve, Refuse} else ids
