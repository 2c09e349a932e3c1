"""Which contracts a wrong outcome breaks: what the caller of an operation saw."""

from __future__ import annotations

from harness.compare.blame.arguments import by_arguments, named_by
from harness.compare.blame.departures import after_failed_exec, by_advice, by_loss, kept_by_failed_fork, shared_space
from harness.compare.blame.ids import Ids, unique
from harness.compare.blame.wrong_byte import wrong_byte
from harness.compare.timeline import Timeline
from harness.program.files import STACK
from harness.program.ops import (
    Advice,
    Advise,
    Ask,
    Brk,
    Clone,
    Copyrange,
    Crowd,
    Deliver,
    Exec,
    Feed,
    Fill,
    Fix,
    Force,
    Fork,
    Limit,
    Load,
    Map,
    Op,
    Peek,
    Pin,
    Poke,
    Print,
    Protect,
    Punch,
    Read,
    Readv,
    Reap,
    Receive,
    Refuse,
    Remap,
    Scratch,
    Sendfile,
    Splice,
    Starve,
    Store,
    Unfix,
    Unmap,
    Unpin,
    Vfork,
    Wait,
    Write,
)
from harness.program.outcome import Done, Failed, Faulted, Loaded, Outcome, Printed, RanOn, Received, Signal
from harness.program.units import HEAP


def wrong_outcome(timeline: Timeline, op: Op, *, expected: Outcome, observed: Outcome) -> Ids:
    """Blame what the caller of `op`, the last step done, saw."""
    limited = _by_limit(timeline, op) if Failed("ENOMEM") in (expected, observed) else ()
    if limited and expected == Failed("ENOMEM") and observed == Done():
        return limited  # there was room but for the limit
    return unique(
        limited,
        _wrong_outcome(timeline, op, expected, observed),
        lost_to_limit(timeline),
        after_failed_exec(timeline.program.steps) if isinstance(op, Load | Store | Fill | Print) else (),
        by_arguments(timeline, named_by(op)),
        shared_space(timeline, op.process),
    )


def _by_limit(timeline: Timeline, op: Op) -> Ids:
    """Where a limit bounds what is mapped, and `op` maps something, the limit may be what decided."""
    is_limited = any(isinstance(done, Limit) for _, done in timeline.steps())
    return ("limit.exact",) if is_limited and isinstance(op, Map | Remap | Brk | Scratch | Limit) else ()


def lost_to_limit(timeline: Timeline) -> Ids:
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
            return unique(_wrong_access(timeline, op, expected, observed), ("kernel-read.sees-memory",))
        case Receive() | Ask() | Reap():
            return _wrong_kernel_store(timeline, op, expected, observed)
        case Advise():
            return unique(by_advice(op), ("errno.table",))
        case Map() | Protect() if Failed("EACCES") in (expected, observed):
            return ("mmap.open-mode", "errno.table")
        case Map() | Unmap() | Protect() | Remap() if isinstance(expected, Failed) != isinstance(observed, Failed):
            return ("errno.table", _shape(op))
        case Fork() | Vfork() | Clone() | Crowd():
            return unique(kept_by_failed_fork(timeline), ("errno.table",))
        case Read() if isinstance(expected, Received) and isinstance(observed, Received):
            return ("file.shared-coherent", "kernel-write.exact-bytes", "errno.table")  # where the file or the copy ends
        case Write() if Failed("EFAULT") in (expected, observed):
            return ("kernel-read.sees-memory", "errno.table")
        case _:
            return _answer(op, expected, observed)


_SHAPES: dict[type[Op], str] = {
    Map: "mmap.fixed-replaces",
    Unmap: "munmap.exact",
    Protect: "mprotect.last-one-counts",
    Remap: "mremap.preserves",
}
"""What is broken where a range was changed that must not be, or was not though it must; a wrong errno breaks less."""


def _shape(op: Op) -> str:
    return next(id for kind, id in _SHAPES.items() if isinstance(op, kind))


_ANSWERS: dict[type[Op], Ids] = {
    Wait: ("wait.status", "conserve.process"),
    Force: ("foll-force.private-only", "errno.table"),
    Poke: ("remote.right-memory", "errno.table"),
    Peek: ("foll-force.reads", "errno.table"),
    Unpin: ("cow.pinned-is-not-exclusive", "kernel-read.sees-memory", "alloc.never-twice"),
    **dict.fromkeys((Fix, Deliver, Unfix), ("cow.fixed-buffer-stays", "errno.table")),
    Sendfile: ("file.shared-coherent", "errno.table"),
    Copyrange: ("file.shared-coherent", "errno.table"),
    Punch: ("file.punch-hole", "errno.table"),
    Readv: ("kernel-write.exact-bytes", "kernel-write.respects-protection", "errno.table"),
    Pin: ("kernel-read.sees-memory", "errno.table"),
    Splice: ("file.shared-coherent", "errno.table"),
    Feed: ("pipe.keeps-pages", "errno.table"),
    **dict.fromkeys((Starve, Refuse), ("fork.failed-is-no-op", "errno.table")),
    Brk: ("brk.exact", "errno.table"),
    Scratch: ("mmap.geometry", "zero.fresh-memory", "alloc.never-twice"),
}
"""What a wrong outcome breaks, where that does not depend on more."""


def _answer(op: Op, expected: Outcome, observed: Outcome) -> Ids:
    """Blame by the operation alone; but another error from /proc/PID/mem tells nothing of what is reached through it."""
    if isinstance(op, Force | Poke | Peek) and isinstance(expected, Failed) and isinstance(observed, Failed):
        return ("errno.table",)
    return _ANSWERS.get(type(op), ("errno.table",))


def _wrong_kernel_store(timeline: Timeline, op: Receive | Ask | Reap, expected: Outcome, observed: Outcome) -> Ids:
    ids: Ids = ("wait.status", "conserve.process") if isinstance(op, Reap) else ()
    if isinstance(expected, Received) and isinstance(observed, Received):
        return ("kernel-write.exact-bytes",)
    if isinstance(expected, Failed) and isinstance(observed, Failed):
        return unique(ids, ("errno.table",))
    return unique(("kernel-write.respects-protection",), _wrong_access(timeline, op, expected, observed), ids)


def _wrong_access(
    timeline: Timeline, op: Load | Store | Fill | Print | Receive | Ask | Reap, expected: Outcome, observed: Outcome
) -> Ids:
    change = timeline.last_change(op.process, op.at.vpn)
    was_allowed = isinstance(observed, Done | Loaded | Printed | Received)
    is_allowed = isinstance(expected, Done | Loaded | Printed | Received)
    if was_allowed == is_allowed:
        return ("fault.signal",)
    if any(isinstance(each, Faulted) and each.signal is Signal.SIGBUS for each in (expected, observed)):
        grown = any(isinstance(done, Write | Sendfile) for _, done in timeline.steps())  # where the file ends may be wrong
        lost = by_loss(timeline, timeline.vma(op.process, op.at.vpn))
        return unique(("file.shared-coherent",) if grown else (), lost, ("file.truncate-cuts", "fault.signal"))
    ids = _of_change(change[1] if change else None, op, was_allowed=was_allowed)
    if any(isinstance(done, Map) and done.backing.name == STACK for _, done in timeline.steps()):
        ids = unique(ids, ("stack.grows",))
    if op.at.window == HEAP.name and any(isinstance(done, Brk) for _, done in timeline.steps()):
        ids = unique(ids, ("brk.exact",))
    # what was to be left out of one mapping may be missing in its neighbour, and what was to go with a part may stay
    is_about_forks = op.process in timeline.parent and any(_leaves_out(done) for _, done in timeline.steps())
    left_out: Ids = ("fork.dontfork",) if is_about_forks else ()
    if was_allowed:
        return unique(_after_force(timeline, op.process, op.at.vpn), ids, left_out, ("tlb.no-stale", "fault.signal"))
    if any(isinstance(done, Scratch) and done.process == op.process for _, done in timeline.steps()):
        ids = unique(ids, ("mmap.geometry",))
    inherited: Ids = ("fork.generations",) if len(timeline.ancestors(op.process)) > 1 else ()
    return unique(ids, left_out, ("fault.signal", "mprotect.last-one-counts"), inherited)


def _of_change(change: Op | None, op: Op, *, was_allowed: bool) -> Ids:
    """Name the contract of what was done last to the mapping that is accessed."""
    match change:
        case Unmap():
            return ("munmap.exact",)
        case Remap():
            return ("mremap.preserves",)
        case Brk():
            return ("brk.exact",)
        case Advise():
            return by_advice(change)
        case Protect():
            grants_store = isinstance(op, Store | Fill) and was_allowed
            return ("mprotect.last-one-counts", *(("mprotect.never-breaks-isolation",) if grants_store else ()))
        case Exec():
            return ("exec.drops-all",) if was_allowed else ("exec.image-intact",)
    return ()


def _leaves_out(op: Op) -> bool:
    return isinstance(op, Advise) and op.advice is Advice.DONTFORK


def _after_force(timeline: Timeline, process: int, vpn: int) -> Ids:
    """A forced store changes bytes; that its page may be written from then on is wrong with it."""
    forced = any(isinstance(stored.op, Force | Poke) for stored in timeline.inherited(process, vpn))
    return ("foll-force.private-only",) if forced else ()
