"""Which contracts speak of how a frame was let go: by which operation, from an address space of its own or a shared one."""

from __future__ import annotations

from collections.abc import Container, Iterable

from harness.compare.blame.ids import Ids, unique
from harness.compare.timeline import Timeline
from harness.model.frame import Frame
from harness.model.vma import Vma
from harness.program.ops import (
    KERNEL_STORES,
    Advice,
    Advise,
    Brk,
    Clone,
    Crash,
    Exec,
    Exit,
    Fill,
    Force,
    Handle,
    Handover,
    Kill,
    Map,
    Mirror,
    Misuse,
    Op,
    Poke,
    Punch,
    Refuse,
    Remap,
    Roam,
    Starve,
    Store,
    Truncate,
    Try,
    Unmap,
    Vfork,
)

ADVICE: dict[Advice, str] = {
    Advice.DONTNEED: "madvise.dontneed",
    Advice.FREE: "madvise.free",
    Advice.DONTFORK: "fork.dontfork",
    Advice.DOFORK: "fork.dontfork",
    Advice.WIPEONFORK: "fork.wipeonfork",
    Advice.KEEPONFORK: "fork.wipeonfork",
    Advice.POPULATE_READ: "madvise.populate",
    Advice.POPULATE_WRITE: "madvise.populate",
    Advice.COLD: "madvise.pageout",
    Advice.PAGEOUT: "madvise.pageout",
    Advice.REMOVE: "file.punch-hole",
}
"""The contract that each advice has."""


def by_advice(op: Advise) -> Ids:
    """Name the contract of what `op` advises."""
    return (ADVICE[op.advice],)


def by_loss(timeline: Timeline, vma: Vma | None) -> Ids:
    """Name the contracts of what took pages from the file of a mapping, or was to leave some."""
    if vma is None or vma.file is None:
        return ()
    steps = [op for _, op in timeline.steps()]
    is_cut = any(isinstance(op, Truncate) and op.file == vma.file for op in steps)
    is_punched = any(isinstance(op, Punch) and op.file == vma.file for op in steps)
    is_removed = any(isinstance(op, Advise) and op.advice is Advice.REMOVE for op in steps)
    return (*(("file.truncate-cuts",) if is_cut else ()), *(("file.punch-hole",) if is_punched or is_removed else ()))


def may_have_gone(advice: Container[Advice]) -> Ids:
    """Name the contracts of the advice, of all that was given, by which a kernel may have taken memory back."""
    return unique(*((ADVICE[each],) for each in (Advice.FREE, Advice.PAGEOUT) if each in advice))


MANY = 8
"""From so many sharers on, an early free may be a counter that wrapped around."""


def early_free(timeline: Timeline, process: int, vpn: int) -> Ids:
    """A frame that somebody else let go of may have been freed under those who still hold it."""
    frame = timeline.frames[-1].get((process, vpn)) if timeline.frames else None
    if frame is None:
        return ()
    return (*many_held(timeline, process, vpn), *by_departures(timeline, frame), *after_teardown(timeline))


def many_held(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Where many held the page's frame, the page may have lost it to a count that wrapped."""
    frames = {held[process, vpn] for held in timeline.frames if (process, vpn) in held}
    return ("count.many-sharers",) if any(timeline.most_holders(frame) >= MANY for frame in frames) else ()


def after_teardown(timeline: Timeline) -> Ids:
    """Where an address space was torn down before, memory that goes wrong for no other reason may be its tables."""
    ended = any(isinstance(op, Exit | Crash | Handle | Kill | Exec) for _, op in timeline.steps())
    return ("tables.no-double-free",) if ended else ()


def by_departures(timeline: Timeline, frame: Frame) -> Ids:
    """Name the contracts of those operations by which pages let go of `frame`, or were told that they may."""
    ids = may_have_gone(timeline.advice_to_frame(frame))
    for left in timeline.left(frame):
        ids = unique(ids, by_advice(left.op) if isinstance(left.op, Advise) else _DEPARTURES.get(type(left.op), ()))
    return ids


_DEPARTURES: dict[type[Op], Ids] = {
    Exit: ("exit.drops-all", "count.no-inflation"),
    Crash: ("exit.drops-all", "count.no-inflation"),
    Handle: ("exit.drops-all", "count.no-inflation"),
    Kill: ("exit.drops-all", "count.no-inflation"),
    Exec: ("exec.drops-all", "count.no-inflation"),
    Store: ("cow.old-frame-released",),
    Fill: ("cow.old-frame-released",),
    **dict.fromkeys((*KERNEL_STORES, Force, Poke), ("cow.old-frame-released",)),
    Unmap: ("munmap.exact",),
    Map: ("mmap.fixed-replaces",),
    Mirror: ("mmap.fixed-replaces",),
    Remap: ("mremap.preserves",),
    Roam: ("mremap.preserves",),
    Brk: ("brk.exact",),
}


def kept_by_failed_fork(timeline: Timeline) -> Ids:
    """Where a fork failed before, counts that are too high, and processes that are too many, may be what it had taken."""
    return ("fork.failed-is-no-op",) if any(isinstance(op, Starve | Refuse) for _, op in timeline.steps()) else ()


def after_failed_exec(steps: Iterable[Op]) -> Ids:
    """Where an exec was to fail, what is wrong with memory may be what it had begun to do."""
    return ("exec.failed-is-no-op",) if any(isinstance(op, Try) and op.misuse in _EXECS for op in steps) else ()


_EXECS = {misuse for misuse in Misuse if misuse.value.startswith("exec-")}


_SHARING: dict[type[Op], Ids] = {Vfork: ("vfork.shares-and-suspends",), Clone: ("clone-vm.shares",)}


def shared_space(timeline: Timeline, process: int) -> Ids:
    """Where `process` works, or worked, in an address space with others, what is wrong there may be wrong with that."""
    how = timeline.sharing(process)
    if how is None:
        return by_threads(timeline, process)
    return unique(_SHARING[how[1]], *(_DEPARTURES.get(kind, ()) for kind in timeline.left_by(process)))


def by_threads(timeline: Timeline, process: int) -> Ids:
    """Where another thread of `process` has taken over, the first one may have taken with it what is the process's."""
    handed = any(isinstance(op, Handover) and op.process == process for _, op in timeline.steps())
    return ("clone-vm.shares",) if handed else ()
