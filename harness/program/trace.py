"""What a guest reports of one run of one program.

Everything that a guest cannot show is None (or an empty mapping where nothing was looked at), never
zero: the comparison tells "not seen" from "seen and absent".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.program.outcome import Outcome
from harness.program.units import PAGE_SIZE, Prot

Runs = tuple[tuple[int, int], ...]
"""The bytes of a page, run-length encoded: (byte value, length in bytes), lengths sum to 4,096."""

Frame = int
"""The guest's number for a frame (PFN). Only ever compared for equality, and used as a key."""


class FrameFlag(enum.IntFlag):
    """The flags of a frame that the comparison reads; bit numbers are those of /proc/kpageflags.

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """

    LRU = 1 << 5
    BUDDY = 1 << 10
    ANON = 1 << 12
    SWAPCACHE = 1 << 13
    NOPAGE = 1 << 20
    ZERO_PAGE = 1 << 24


@dataclass(frozen=True, slots=True)
class PageSeen:
    """One page of one process. `frame` is None where the guest shows presence only.

    `content` is None where the page could not be read (or was not looked at).
    """

    present: bool | None = None
    frame: Frame | None = None
    content: Runs | None = None
    writable: bool | None = None
    """Whether the process may store without a fault: the bits of its page-table entry, as are the next two."""
    dirty: bool | None = None
    accessed: bool | None = None


@dataclass(frozen=True, slots=True, order=True)
class VmaSeen:
    """One VMA, clipped to the observed windows: pages, protection, sharing, file offset."""

    vpn: int
    npages: int
    prot: Prot
    shared: bool = False
    pgoff: int | None = None
    """Offset of the first page in its file, in pages; None for anonymous memory."""
    file: str | None = None
    """Which of the program's files it maps; None where it is none of them, or the guest does not tell."""


@dataclass(frozen=True, slots=True)
class RssSeen:
    """The resident set of a process, in pages: as the kernel counts it, and what lies outside the observed windows of it.

    Source: RssAnon, RssFile and RssShmem in proc_pid_status(5); pagemap for what lies outside.
    """

    anonymous: int
    file: int
    shared: int
    """Shared anonymous memory, and files that live in memory (shmem, tmpfs)."""
    anonymous_outside: int
    other_outside: int
    """Pages of files outside the windows, of whatever kind."""


@dataclass(frozen=True, slots=True)
class SizeSeen:
    """The size of an address space, in pages: as the kernel counts it, and as its VMAs add up to, all of them.

    Source: proc_pid_statm(5), its first number; proc_pid_maps(5).
    """

    counted: int
    mapped: int


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """One live process: its VMAs in address order, its pages by virtual page number, its resident set and its size."""

    pages: Mapping[int, PageSeen]
    vmas: tuple[VmaSeen, ...] | None = None
    rss: RssSeen | None = None
    size: SizeSeen | None = None


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """The kernel's own numbers for one frame."""

    mapcount: int | None = None
    refcount: int | None = None
    flags: FrameFlag | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """The whole state, seen when `after` steps of the program were done."""

    after: int
    processes: Mapping[int, ProcessSeen]
    frames: Mapping[Frame, FrameSeen] = field(default_factory=dict)


class Ending(enum.Enum):
    """How a run ended. The value completes the sentence "the run …"."""

    COMPLETE = "did every step"
    LOST = "stopped because a process died at a step that it should survive"
    STUCK = "stopped because a step did not end"
    FORK_FAILED = "stopped because a fork failed"
    PANICKED = "stopped because the kernel panicked, oopsed or warned"
    HUNG = "stopped because the guest no longer answered"
    GARBLED = "stopped because the guest's answer made no sense, though a fresh guest's does"
    DIED = "stopped because the machine went away"


@dataclass(frozen=True, slots=True)
class Accounting:
    """Machine-wide counts, in frames, at a moment when no process of any program lives."""

    free: int | None = None
    page_tables: int | None = None
    anonymous: int | None = None
    promised: int | None = None
    """The memory that processes may still come to need by what they have mapped, and that may have to be there then."""
    free_slots: int | None = None
    """Of swap, a page each."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that one run showed.

    `outcomes[k]` belongs to step k (None for `observe`); the tuple is shorter than the program where the
    run ended early, and step number len(outcomes) is then the one at which it ended.
    `faults[k]` is the count of minor faults that step k took, where they were counted.
    `leftover` holds those frames of the observations that were not free after the last process of the
    program had been reaped; None where the guest cannot tell.
    """

    outcomes: tuple[Outcome | None, ...]
    observations: tuple[Observation, ...] = ()
    outputs: Mapping[int, bytes] = field(default_factory=dict)
    ending: Ending = Ending.COMPLETE
    evidence: str = ""
    leftover: Mapping[Frame, FrameSeen] | None = None
    before: Accounting | None = None
    after: Accounting | None = None
    faults: tuple[int | None, ...] | None = None
    unreaped: int | None = None
    """Processes that were neither reaped nor could be killed at the end."""
    is_late: bool = False
    """Whether counts still moved after an observation was due, so that it had to wait."""
    is_starved: bool = False
    """Whether it waited in vain for a process that had no CPU: the machine had none of the host, or the process none of the
    machine's."""

    @property
    def free(self) -> tuple[int, int] | None:
        """How many frames were free before the program and after it, where the guest can tell."""
        before = self.before.free if self.before is not None else None
        after = self.after.free if self.after is not None else None
        return None if before is None or after is None else (before, after)


_RUN = re.compile(rb"(.)\1*", re.DOTALL)


def runs_of(content: bytes) -> Runs:
    """Run-length encode `content` (bytes of one page, or any length)."""
    return tuple((run[0][0], len(run[0])) for run in _RUN.finditer(content))


ZEROES: Runs = ((0, PAGE_SIZE),)
"""The content of a page of zeroes."""
