"""The operations that programs are made of: frozen data, nothing more.

An operation is a dataclass whose fields are of the kinds in `base`. Its `verb` is its word in the text
form and its `code` its number on the wire; text, wire format and validity checks are all derived from
the fields. A new operation is therefore one class in a module here and its entry in `OPS`, one module in
`harness/model/syscalls`, one function in the agent's tables, and one row of a strategy.

No operation has a method that touches a guest or a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import (
    MAX_CROWD,
    MAX_FRAMES_LEFT,
    MAX_LENGTH,
    MAX_THREADS,
    Access,
    Advice,
    Backing,
    Body,
    Kind,
    Leader,
    Misuse,
    Op,
    Opened,
    Placement,
    Populate,
    Rounds,
    Sharing,
)
from harness.program.ops.files import Copyrange, Punch, Read, Readv, Sendfile, Sync, Truncate, Unlink, Write
from harness.program.ops.kernel import (
    ANSWERS,
    STATUS_WORD,
    Ask,
    Deliver,
    Feed,
    Fix,
    Force,
    Peek,
    Pin,
    Poke,
    Query,
    Reap,
    Receive,
    Splice,
    Unfix,
    Unpin,
    Via,
)
from harness.program.ops.mapping import Advise, Brk, Map, Mirror, Protect, Remap, Roam, Scratch, Try, Unmap
from harness.program.ops.memory import Fill, Load, Print, Store
from harness.program.ops.process import (
    Clone,
    Crash,
    Crowd,
    Disperse,
    Exec,
    Exit,
    Fork,
    Handle,
    Handover,
    Kill,
    Limit,
    Refuse,
    Starve,
    Threads,
    Throng,
    Vfork,
    Wait,
)

__all__ = [
    "ANSWERS", "ENDING", "FORKS", "KERNEL_STORES", "MAX_CROWD", "MAX_FRAMES_LEFT", "MAX_LENGTH", "MAX_THREADS",
    "OF_OTHERS", "OPS", "OP_BY_VERB", "SHARERS", "SILENT", "STATUS_WORD", "WAITS", "Access", "Advice", "Advise", "Ask",
    "Backing", "Brk", "Clone", "Copyrange", "Crash", "Crowd", "Deliver", "Disperse", "Exec", "Exit", "Feed", "Fill",
    "Fix", "Force", "Fork", "Handle", "Handover", "Kill", "Kind", "Leader", "Limit", "Load", "Map", "Mirror", "Misuse",
    "Observe", "Op", "Opened", "Peek", "Pin", "Placement", "Poke", "Populate", "Print", "Protect", "Punch", "Query",
    "Read", "Readv", "Reap", "Receive", "Refuse", "Remap", "Repeat", "Roam", "Scratch", "Sendfile", "Sharing", "Splice",
    "Starve", "Store", "Sync", "Threads", "Throng", "Truncate", "Try", "Unfix", "Unlink", "Unmap", "Unpin", "Vfork",
    "Via", "Wait", "Write", "ended_by", "whose",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Observe(Op):
    """Not a step of the process: the whole state is observed here (`process` is p0)."""

    verb: ClassVar[str] = "observe"
    code: ClassVar[int] = 13


@dataclass(frozen=True, slots=True)
class Repeat(Op):
    """Not a step of the process: the next `body` steps are done `rounds` times, and say what they saw in the last round."""

    verb: ClassVar[str] = "repeat"
    code: ClassVar[int] = 39
    rounds: Rounds
    body: Body


OPS: tuple[type[Op], ...] = (
    Map, Unmap, Protect, Load, Store, Fill, Print, Fork, Exec, Exit, Crash, Wait, Observe,
    Remap, Advise, Brk, Scratch, Try,
    Read, Readv, Write, Sendfile, Truncate, Unlink, Sync,
    Receive, Ask, Reap, Force, Peek, Pin, Splice, Feed, Unpin, Fix, Deliver, Unfix,
    Vfork, Clone, Crowd, Disperse, Repeat, Starve, Refuse, Limit, Kill, Threads, Mirror, Throng, Copyrange, Handover,
    Handle, Roam, Punch, Poke,
)  # fmt: skip
"""Every operation; the one registry from which verbs, codes and strategies are looked up."""

OP_BY_VERB = {op.verb: op for op in OPS}

SILENT = (Observe, Repeat)
"""What is no step of a process, and reports no outcome."""

ENDING = (Exit, Crash, Handle)
"""The operations after which their process is gone."""


def ended_by(op: Op) -> int | None:
    """Give the process that is gone after `op`, perhaps before it too: its own, or another; None where there is none."""
    if isinstance(op, Kill):
        return op.victim
    return op.process if isinstance(op, ENDING) else None


OF_OTHERS = (Kill, Poke)
"""The operations on another process, their `victim`."""


def whose(op: Op) -> int:
    """Give the process whose memory `op` works on, or that it ends."""
    return op.victim if isinstance(op, OF_OTHERS) else op.process


FORKS = (Fork, Vfork, Clone)
"""The operations that make a process; each has a `child`."""

SHARERS = (Vfork, Clone)
"""Those of them whose child works in its parent's address space, until it execs."""

WAITS = (Wait, Reap)
"""The operations that reap a process; each has a `child`."""

KERNEL_STORES = (Receive, Ask, Reap)
"""The operations in which the kernel stores on behalf of a process, from `at` on, as that process could itself."""
