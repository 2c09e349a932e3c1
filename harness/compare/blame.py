"""Which contracts a difference breaks.

One piece of evidence can break several sentences: a refcount that stays too high after an exit breaks the general rule,
the rule about exit, and the rule that nothing inflates. The most specific comes first. These functions only look at what
the model and the program say happened; they never decide *whether* something is a divergence.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.compare.state import Difference, Topic
from harness.compare.timeline import Timeline, shaped
from harness.model.frame import Frame
from harness.model.vma import VmaFlag
from harness.program.files import FILES, STACK
from harness.program.image import SEGMENT_OF
from harness.program.ops import (
    KERNEL_STORES,
    Advice,
    Advise,
    Ask,
    Brk,
    Clone,
    Crash,
    Deliver,
    Exec,
    Exit,
    Fill,
    Fix,
    Force,
    Kill,
    Limit,
    Load,
    Map,
    Op,
    Pin,
    Print,
    Protect,
    Read,
    Readv,
    Reap,
    Receive,
    Refuse,
    Remap,
    Scratch,
    Sendfile,
    Starve,
    Store,
    Truncate,
    Unfix,
    Unmap,
    Unpin,
    Vfork,
    Wait,
)
from harness.program.outcome import Done, Failed, Faulted, Loaded, Outcome, Printed, RanOn, Received, Signal
from harness.program.program import places
from harness.program.units import PAGE_SIZE, Address, PageRange, address_of

Ids = tuple[str, ...]


def _unique(*groups: Ids) -> Ids:
    return tuple(dict.fromkeys(id for group in groups for id in group))


# ---------------------------------------------------------------------------------- bytes


def _file_or_shared(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Blame a byte of shared memory or of one of the program's files: it is not one process's alone to begin with."""
    vma = timeline.vma(process, vpn)
    if vma is None or (not vma.shared and vma.file not in FILES):
        return ()
    cut: Ids = ("file.truncate-cuts",) if any(isinstance(op, Truncate) for _, op in timeline.steps()) else ()
    if vma.file not in FILES:
        return ("fork.shared-stays-shared", "store.load")
    if vma.shared:
        return _unique(("file.shared-coherent",), cut, ("fork.shared-stays-shared", "store.load"))
    return _unique(("file.private-offset", "cache.private-write-stays-out", "fork.file-private"), cut, ("store.load",))


def wrong_byte(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """Blame a byte that is not what it should be; `value` is what was seen at `offset`."""
    of_file = _file_or_shared(timeline, process, vpn)
    if of_file:
        return of_file
    reads = [op for _, op in timeline.steps() if isinstance(op, Read | Readv) and op.process == process]
    if any(
        (isinstance(place, PageRange) and vpn in place.vpns) or (isinstance(place, Address) and vpn == place.vpn)
        for op in reads
        for place in places(op)
    ):
        return ("file.shared-coherent", *_of_ranges(timeline, process), "store.load")
    delivered: Ids = ("cow.fixed-buffer-stays",) if offset is not None and timeline.delivers(offset) else ()
    foreign = _foreign_store(timeline, process, vpn, offset=offset, value=value)
    if foreign:  # somebody else's store explains the byte, so nothing else needs to
        many = _many_held(timeline, process, vpn)
        return _unique(delivered, foreign, _file_byte(timeline, process, vpn), many, ("store.load",))
    explained = _unique(
        delivered,
        _kernel_byte(timeline, process, vpn, offset),
        _tail_byte(timeline, process, vpn, offset),
        _file_byte(timeline, process, vpn),
        _fresh_byte(timeline, process, vpn, offset),
        ("cow.break-copies-all",) if timeline.broke_cow((process, vpn)) else (),
        _stale_byte(timeline, process, vpn),
        _unwiped(timeline, process, vpn),
        _outdated_byte(timeline, process, vpn, offset=offset, value=value),
    )
    return _unique(explained or _early_free(timeline, process, vpn), ("alloc.never-twice", "store.load"))


def _of_ranges(timeline: Timeline, process: int) -> Ids:
    """A read into two ranges may have gone on behind the one where it should have stopped."""
    many = any(isinstance(op, Readv) and op.process == process for _, op in timeline.steps())
    return ("kernel-write.exact-bytes",) if many else ()


def _foreign_store(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """Find a store by another process that would explain the byte."""
    mine = {stored.step for stored in timeline.inherited(process, vpn)}
    suspects = [
        stored for stored in timeline.stores(process, vpn) if stored.step not in mine and stored.explains(offset, value)
    ]
    if not suspects:
        return ()
    culprit = suspects[-1]
    change = timeline.last_change(culprit.process, culprit.vpn)
    return _unique(
        _BY_THE_KERNEL.get(type(culprit.op), ()),
        isolation(timeline, writer=culprit.process, victim=process),
        ("mprotect.never-breaks-isolation",) if change and isinstance(change[1], Protect) else (),
        ("mremap.preserves",) if change and isinstance(change[1], Remap) else (),
        ("tlb.no-stale",) if timeline.follows_fork(culprit) else (),
    )


_BY_THE_KERNEL: dict[type[Op], Ids] = {
    **dict.fromkeys(KERNEL_STORES, ("kernel-write.breaks-cow",)),
    Force: ("foll-force.private-only",),
}
"""What else a store breaks that the kernel did, where it shows in somebody else's memory."""


def _kernel_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    """A store by the kernel for this process may have gone too far, or where it was refused."""
    ids: Ids = ()
    if timeline.was_refused(process, vpn):
        ids = ("kernel-write.respects-protection",)
    near = [stored for stored in timeline.inherited(process, vpn) if isinstance(stored.op, KERNEL_STORES)]
    if offset is not None and any(
        0 <= offset - stored.end < _NEAR or 0 < stored.offset - offset <= _NEAR for stored in near
    ):
        ids = (*ids, "kernel-write.exact-bytes")
    return ids


_NEAR = 8
"""How many bytes a copy that works in words may go too far."""


def isolation(timeline: Timeline, *, writer: int, victim: int) -> Ids:
    """Name the isolation that a store of `writer` broke by showing up in `victim`."""
    if writer == victim:
        return ()
    downwards = writer in timeline.ancestors(victim)
    far = timeline.distance(writer, victim) >= 2
    ids: Ids = ("fork.parent-store-private",) if downwards else ("fork.child-store-private",)
    return (*ids, *(("fork.generations",) if far else ()), "cow.no-writable-shared")


def _file_byte(timeline: Timeline, process: int, vpn: int) -> Ids:
    vma = timeline.vma(process, vpn)
    if vma is None or vma.file not in SEGMENT_OF:
        return ()
    since = timeline.last_exec(process)
    if any(stored.step > since for stored in timeline.inherited(process, vpn)):
        return ()
    ids: Ids = ("exec.image-intact", "file.private-offset", "cache.outlives-mappers")
    if timeline.stores(process, vpn):
        return ("cache.private-write-stays-out", "fork.file-private", *ids)
    change = timeline.last_change(process, vpn)
    return ids if change is None or isinstance(change[1], Exec) else _unique(("file.private-offset",), ids)


def _tail_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    """A byte that exec has to zero, in a page of which the file has the rest, is zero in memory and not in the file."""
    if offset is None or offset < _tail(timeline, process, vpn):
        return ()
    change = timeline.last_change(process, vpn)
    return ("cache.private-write-stays-out",) if change and not isinstance(change[1], Exec) else ("exec.image-intact",)


def _tail(timeline: Timeline, process: int, vpn: int) -> int:
    """Give how many bytes of page `vpn` are of the file, where exec has to zero the rest; else the whole page."""
    image = timeline.image(process)
    tails = {segment.vpn + segment.file_pages - 1: segment.tail for segment in image.segments if segment.tail}
    return tails.get(vpn, PAGE_SIZE)


def _fresh_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    vma = timeline.vma(process, vpn)
    of_file = vma is not None and vma.file in SEGMENT_OF and (offset or 0) < _tail(timeline, process, vpn)
    if address_of(vpn) is None or of_file:
        return ()
    change = timeline.last_change(process, vpn)
    since = change[0] if change and _is_fresh(vpn, change[1]) else -1
    if any(stored.step > since and stored.explains(offset, None) for stored in timeline.inherited(process, vpn)):
        return ()
    return ("zero.fresh-memory", "zero.page-stays-zero", "batch.distinct-zeroed")


def _is_fresh(vpn: int, op: Op) -> bool:
    """Tell whether page `vpn` was as good as new after `op`."""
    if isinstance(op, Remap):
        return vpn - op.to.vpn >= op.kept
    if isinstance(op, Advise):
        return op.advice in (Advice.DONTNEED, Advice.WIPEONFORK)
    return isinstance(op, Map | Exec | Brk)


def _stale_byte(timeline: Timeline, process: int, vpn: int) -> Ids:
    """After an exec, or a map over old memory, what was there before must not show."""
    change = timeline.last_change(process, vpn)
    if change is None:
        return ()
    if isinstance(change[1], Exec):
        return ("exec.drops-all",)
    if isinstance(change[1], Remap):
        return ("mremap.preserves", "tlb.no-stale")
    if isinstance(change[1], Advise):
        return _unique(by_advice(change[1]), ("tlb.no-stale",))
    if isinstance(change[1], Brk):
        return ("brk.exact",)
    if isinstance(change[1], Map) and any(s.step < change[0] for s in timeline.stores(process, vpn)):
        return ("mmap.fixed-replaces", "tlb.no-stale")
    return ()


def _unwiped(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Memory that children find wiped may have come to one as it was, whatever else was done to the mapping before."""
    vma = timeline.vma(process, vpn)
    wiped = vma is not None and bool(vma.flags & VmaFlag.WIPED_ON_FORK) and process in timeline.parent
    return ("fork.wipeonfork",) if wiped else ()


def _outdated_byte(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """A byte that was there before the last store is one that the CPU, or the kernel, still finds in the old frame."""
    if offset is None or value is None:
        return ()
    here = [stored for stored in timeline.inherited(process, vpn) if stored.explains(offset, None)]
    if not any(stored.explains(offset, value) for stored in here[:-1]):
        return ()
    by_kernel: Ids = ("kernel-write.breaks-cow",) if isinstance(here[-1].op, KERNEL_STORES) else ()
    return (*by_kernel, "tlb.no-stale")


ADVICE: dict[Advice, str] = {
    Advice.DONTNEED: "madvise.dontneed",
    Advice.FREE: "madvise.free",
    Advice.DONTFORK: "fork.dontfork",
    Advice.DOFORK: "fork.dontfork",
    Advice.WIPEONFORK: "fork.wipeonfork",
    Advice.KEEPONFORK: "fork.wipeonfork",
    Advice.POPULATE_READ: "madvise.populate",
    Advice.POPULATE_WRITE: "madvise.populate",
}
"""The contract that each advice has."""


def by_advice(op: Advise) -> Ids:
    """Name the contract of what `op` advises."""
    return (ADVICE[op.advice],)


MANY = 8
"""From so many sharers on, an early free may be a counter that wrapped around."""


def _early_free(timeline: Timeline, process: int, vpn: int) -> Ids:
    """A frame that somebody else let go of may have been freed under those who still hold it."""
    frame = timeline.frames[-1].get((process, vpn)) if timeline.frames else None
    if frame is None:
        return ()
    return (*_many_held(timeline, process, vpn), *_by_departures(timeline, frame), *after_teardown(timeline))


def _many_held(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Where many held the page's frame, the page may have lost it to a count that wrapped."""
    frames = {held[process, vpn] for held in timeline.frames if (process, vpn) in held}
    return ("count.many-sharers",) if any(timeline.most_holders(frame) >= MANY for frame in frames) else ()


def after_teardown(timeline: Timeline) -> Ids:
    """Where an address space was torn down before, memory that goes wrong for no other reason may be its tables."""
    ended = any(isinstance(op, Exit | Crash | Kill | Exec) for _, op in timeline.steps())
    return ("tables.no-double-free",) if ended else ()


def _by_departures(timeline: Timeline, frame: Frame) -> Ids:
    """Name the contracts of those operations by which pages let go of `frame`, or were told that they may."""
    ids: Ids = ("madvise.free",) if timeline.freed(frame) else ()
    for left in timeline.left(frame):
        ids = _unique(ids, by_advice(left.op) if isinstance(left.op, Advise) else _DEPARTURES.get(type(left.op), ()))
    return ids


_DEPARTURES: dict[type[Op], Ids] = {
    Exit: ("exit.drops-all", "count.no-inflation"),
    Crash: ("exit.drops-all", "count.no-inflation"),
    Kill: ("exit.drops-all", "count.no-inflation"),
    Exec: ("exec.drops-all", "count.no-inflation"),
    Store: ("cow.old-frame-released",),
    Fill: ("cow.old-frame-released",),
    **dict.fromkeys((*KERNEL_STORES, Force), ("cow.old-frame-released",)),
    Unmap: ("munmap.exact",),
    Map: ("mmap.fixed-replaces",),
    Remap: ("mremap.preserves",),
    Brk: ("brk.exact",),
}


# ---------------------------------------------------------------------------------- shared address spaces

_SHARING: dict[type[Op], Ids] = {Vfork: ("vfork.shares-and-suspends",), Clone: ("clone-vm.shares",)}


def shared_space(timeline: Timeline, process: int) -> Ids:
    """Where `process` works, or worked, in an address space with others, what is wrong there may be wrong with that."""
    how = timeline.sharing(process)
    if how is None:
        return ()
    return _unique(_SHARING[how[1]], *(_DEPARTURES.get(kind, ()) for kind in timeline.left_by(process)))


# ---------------------------------------------------------------------------------- outcomes


def wrong_outcome(timeline: Timeline, op: Op, *, expected: Outcome, observed: Outcome) -> Ids:
    """Blame what the caller of `op`, the last step done, saw."""
    limited = _by_limit(timeline, op) if Failed("ENOMEM") in (expected, observed) else ()
    return _unique(
        limited,
        _wrong_outcome(timeline, op, expected, observed),
        _lost_to_limit(timeline),
        shared_space(timeline, op.process),
    )


def _by_limit(timeline: Timeline, op: Op) -> Ids:
    """Where a limit bounds what is mapped, and `op` maps something, the limit may be what decided."""
    is_limited = any(isinstance(done, Limit) for _, done in timeline.steps())
    return ("limit.exact",) if is_limited and isinstance(op, Map | Remap | Brk | Scratch | Limit) else ()


def _lost_to_limit(timeline: Timeline) -> Ids:
    """Where a call failed for want of room before, it may have done half of its work."""
    failed = any(timeline.outcomes[step] == Failed("ENOMEM") and _by_limit(timeline, op) for step, op in timeline.steps())
    return ("limit.exact",) if failed else ()


def _wrong_outcome(timeline: Timeline, op: Op, expected: Outcome, observed: Outcome) -> Ids:
    if isinstance(observed, RanOn):
        return ("vfork.shares-and-suspends",)
    match op:
        case Load(process, at) if isinstance(expected, Loaded) and isinstance(observed, Loaded):
            return wrong_byte(timeline, process, at.vpn, offset=at.offset, value=observed.value)
        case Load() | Store() | Fill():
            return _wrong_access(timeline, op, expected, observed)
        case Print():
            return _unique(_wrong_access(timeline, op, expected, observed), ("kernel-read.sees-memory",))
        case Receive() | Ask() | Reap():
            return _wrong_kernel_store(timeline, op, expected, observed)
        case Advise():
            return _unique(by_advice(op), ("errno.table",))
        case Map() | Unmap() | Protect() | Remap() if isinstance(expected, Failed) != isinstance(observed, Failed):
            return ("errno.table", _SHAPES[type(op)])
        case _:
            return _ANSWERS.get(type(op), ("errno.table",))


_SHAPES: dict[type[Op], str] = {
    Map: "mmap.fixed-replaces",
    Unmap: "munmap.exact",
    Protect: "mprotect.last-one-counts",
    Remap: "mremap.preserves",
}
"""What is broken where a range was changed that must not be, or was not though it must; a wrong errno breaks less."""


_ANSWERS: dict[type[Op], Ids] = {
    Wait: ("wait.status", "conserve.process"),
    Force: ("foll-force.private-only", "errno.table"),
    Unpin: ("cow.pinned-is-not-exclusive", "kernel-read.sees-memory", "alloc.never-twice"),
    **dict.fromkeys((Fix, Deliver, Unfix), ("cow.fixed-buffer-stays", "errno.table")),
    Sendfile: ("file.shared-coherent", "errno.table"),
    Readv: ("kernel-write.exact-bytes", "kernel-write.respects-protection", "errno.table"),
    Pin: ("kernel-read.sees-memory", "errno.table"),
    **dict.fromkeys((Starve, Refuse), ("fork.failed-is-no-op", "errno.table")),
    Brk: ("brk.exact", "errno.table"),
    Scratch: ("mmap.geometry", "zero.fresh-memory", "alloc.never-twice"),
}
"""What a wrong outcome breaks, where that does not depend on more."""


def _wrong_kernel_store(timeline: Timeline, op: Receive | Ask | Reap, expected: Outcome, observed: Outcome) -> Ids:
    ids: Ids = ("wait.status", "conserve.process") if isinstance(op, Reap) else ()
    if isinstance(expected, Received) and isinstance(observed, Received):
        return ("kernel-write.exact-bytes",)
    if isinstance(expected, Failed) and isinstance(observed, Failed):
        return _unique(ids, ("errno.table",))
    return _unique(("kernel-write.respects-protection",), _wrong_access(timeline, op, expected, observed), ids)


def _wrong_access(
    timeline: Timeline, op: Load | Store | Fill | Print | Receive | Ask | Reap, expected: Outcome, observed: Outcome
) -> Ids:
    change = timeline.last_change(op.process, op.at.vpn)
    by: Callable[[type[Op]], bool] = lambda kind: change is not None and isinstance(change[1], kind)  # noqa: E731
    was_allowed = isinstance(observed, Done | Loaded | Printed | Received)
    is_allowed = isinstance(expected, Done | Loaded | Printed | Received)
    if was_allowed == is_allowed:
        return ("fault.signal",)
    ids: Ids = ()
    if any(isinstance(each, Faulted) and each.signal is Signal.SIGBUS for each in (expected, observed)):
        return ("file.truncate-cuts", "fault.signal")
    if by(Unmap):
        ids = ("munmap.exact",)
    elif by(Remap):
        ids = ("mremap.preserves",)
    elif by(Brk):
        ids = ("brk.exact",)
    elif change and isinstance(change[1], Advise):
        ids = by_advice(change[1])
    elif by(Protect):
        ids = ("mprotect.last-one-counts",)
        if isinstance(op, Store | Fill) and was_allowed:
            ids = ("mprotect.last-one-counts", "mprotect.never-breaks-isolation")
    elif by(Exec):
        ids = ("exec.drops-all",) if was_allowed else ("exec.image-intact",)
    if any(isinstance(done, Map) and done.backing.name == STACK for _, done in timeline.steps()):
        ids = _unique(ids, ("stack.grows",))
    if was_allowed:
        return _unique(_after_force(timeline, op.process, op.at.vpn), ids, ("tlb.no-stale", "fault.signal"))
    if any(isinstance(done, Scratch) and done.process == op.process for _, done in timeline.steps()):
        ids = _unique(ids, ("mmap.geometry",))
    inherited: Ids = ("fork.generations",) if len(timeline.ancestors(op.process)) > 1 else ()
    return _unique(ids, ("fault.signal", "mprotect.last-one-counts"), inherited)


def _after_force(timeline: Timeline, process: int, vpn: int) -> Ids:
    """A forced store changes bytes; that its page may be written from then on is wrong with it."""
    forced = any(isinstance(stored.op, Force) for stored in timeline.inherited(process, vpn))
    return ("foll-force.private-only",) if forced else ()


# ---------------------------------------------------------------------------------- state


def wrong_state(timeline: Timeline, difference: Difference) -> Ids:
    """Blame a difference between an observation and the model's state."""
    ids = _BY_TOPIC[difference.topic](timeline, difference)
    return _unique(
        ids,
        _kept_by_failed_fork(timeline, difference),
        _lost_to_limit(timeline) if difference.topic in _MAPPED else (),
        shared_space(timeline, difference.process),
    )


_MAPPED = (Topic.VMAS, Topic.ABSENT, Topic.PRESENT, Topic.BYTES)
"""What is different where a mapping went, or came, that should not."""


def _kept_by_failed_fork(timeline: Timeline, it: Difference) -> Ids:
    """Where a fork ran out of memory before, counts that are too high may be what it had taken."""
    if it.topic not in (Topic.MAPCOUNT, Topic.REFCOUNT, Topic.MOVED):
        return ()
    return ("fork.failed-is-no-op",) if any(isinstance(op, Starve | Refuse) for _, op in timeline.steps()) else ()


def _bytes(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    return wrong_byte(timeline, it.process, it.vpn, offset=it.offset, value=it.value)


def _vmas(timeline: Timeline, it: Difference) -> Ids:
    changes = [op for _, op in timeline.steps() if op.process == it.process and (shaped(op) or isinstance(op, Exec | Brk))]
    if not changes:
        return _inherited_vmas(timeline, it)
    if isinstance(changes[-1], Advise):
        return _unique(by_advice(changes[-1]), ("mmap.geometry",))
    words: dict[type[Op], Ids] = {
        Map: ("mmap.fixed-replaces",),
        Unmap: ("munmap.exact",),
        Protect: ("mprotect.last-one-counts",),
        Remap: ("mremap.preserves",),
        Brk: ("brk.exact",),
        Exec: ("exec.drops-all",),
    }
    return _unique(words[type(changes[-1])], ("mmap.geometry",))


def _inherited_vmas(timeline: Timeline, it: Difference) -> Ids:
    change = None if it.vpn is None else timeline.last_change(it.process, it.vpn)
    advised = by_advice(change[1]) if change and isinstance(change[1], Advise) else ()
    return _unique(advised, ("fork.inherits-vmas",) if it.process in timeline.parent else (), ("mmap.geometry",))


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
        return _unique(ids, _advised(timeline, it), ("page.present",), after_teardown(timeline))
    return (*_advised(timeline, it), "prefault.budget", "page.present", *after_teardown(timeline))


def _over_budget(timeline: Timeline, _: Difference) -> Ids:
    return ("prefault.budget", *after_teardown(timeline))


def _advised(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    change = timeline.last_change(it.process, it.vpn)
    if change and isinstance(change[1], Advise):
        return by_advice(change[1])
    return _unwiped(timeline, it.process, it.vpn)


def _absent(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    change = timeline.last_change(it.process, it.vpn)
    moved: Ids = ("mremap.preserves",) if change and isinstance(change[1], Remap) else ()
    return (*moved, *_advised(timeline, it), "page.present", *after_teardown(timeline))


def _shared(timeline: Timeline, it: Difference) -> Ids:
    assert it.vpn is not None
    tail: Ids = ("cache.private-write-stays-out",) if _tail(timeline, it.process, it.vpn) < PAGE_SIZE else ()
    if it.partner is None or not timeline.akin((it.process, it.vpn), it.partner):
        return (*tail, "alloc.never-twice", "batch.distinct-zeroed", *after_teardown(timeline))
    wiped = _advised(timeline, it)
    pair = {it.process, it.partner[0]}
    ids: Ids = ()
    vpns = dict([(it.process, it.vpn), it.partner])
    for stored in timeline.stores(it.process, it.vpn):
        victim = (pair - {stored.process} or pair).pop()
        if stored.process in pair and stored not in timeline.inherited(victim, vpns[victim]):
            ids = _unique(ids, isolation(timeline, writer=stored.process, victim=victim))
    # more pages than entries: they are in one table, which two address spaces have
    tables = after_teardown(timeline) if it.excess < 0 else ()
    return _unique(ids, tail, wiped, ("alloc.never-twice",), tables)


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
        return _unique((general,), many, _by_departures(timeline, it.frame), pinned)

    return blame


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
}


def leftover(step_kinds: set[type[Op]]) -> Ids:
    """Blame frames that were not given back when everybody was gone."""
    ids: Ids = ("conserve.frames", "exit.drops-all")
    ids = (*ids, "exec.drops-all") if Exec in step_kinds else ids
    return (*ids, "fork.failed-is-no-op") if step_kinds & {Starve, Refuse} else ids
