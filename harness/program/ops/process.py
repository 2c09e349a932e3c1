"""Operations in the life of a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.image import OWN
from harness.program.ops.base import (
    Access,
    Child,
    CrowdSize,
    FrameCount,
    ImageName,
    Leader,
    Op,
    Status,
    ThreadCount,
    Victim,
)
from harness.program.units import Address, PageRange


@dataclass(frozen=True, slots=True)
class Fork(Op):
    """fork(2). `child` is the name of the new process, used by no other process of the program."""

    verb: ClassVar[str] = "fork"
    code: ClassVar[int] = 8
    child: Child


@dataclass(frozen=True, slots=True)
class Vfork(Op):
    """vfork(2): the child works in its parent's memory, and the parent waits until it execs or ends."""

    verb: ClassVar[str] = "vfork"
    code: ClassVar[int] = 35
    child: Child


@dataclass(frozen=True, slots=True)
class Clone(Op):
    """clone(2) with CLONE_VM: a child in the same address space; both run."""

    verb: ClassVar[str] = "clone"
    code: ClassVar[int] = 36
    child: Child


@dataclass(frozen=True, slots=True)
class Crowd(Op):
    """fork(2) `count` idle children, which hold memory and do nothing; they have no names."""

    verb: ClassVar[str] = "crowd"
    code: ClassVar[int] = 37
    count: CrowdSize


@dataclass(frozen=True, slots=True)
class Throng(Crowd):
    """As `crowd`, and each idle child first loads from every page of `pages`, as far as it may."""

    verb: ClassVar[str] = "throng"
    code: ClassVar[int] = 51
    pages: PageRange


@dataclass(frozen=True, slots=True)
class Disperse(Op):
    """Let the process's idle children exit, and wait for all of them."""

    verb: ClassVar[str] = "disperse"
    code: ClassVar[int] = 38


@dataclass(frozen=True, slots=True)
class Starve(Op):
    """fork(2) that finds only `frames` more frames. It fails, or its child exits at once and is waited for."""

    verb: ClassVar[str] = "starve"
    code: ClassVar[int] = 40
    frames: FrameCount


@dataclass(frozen=True, slots=True)
class Refuse(Op):
    """fork(2) where no process more is allowed (pids.max of a control group: RLIMIT_NPROC does not bind root)."""

    verb: ClassVar[str] = "refuse"
    code: ClassVar[int] = 41


@dataclass(frozen=True, slots=True)
class Limit(Op):
    """setrlimit(2), RLIMIT_AS: from now on its mappings may have `left` pages more than now, until it execs."""

    verb: ClassVar[str] = "limit"
    code: ClassVar[int] = 42
    left: FrameCount


@dataclass(frozen=True, slots=True)
class Exec(Op):
    """execve(2) of an image (`harness.program.image`): the arena goes, the image windows are as in the file. It lifts a
    limit.
    """

    verb: ClassVar[str] = "exec"
    code: ClassVar[int] = 9
    optional: ClassVar[int] = 1
    image: ImageName = OWN


@dataclass(frozen=True, slots=True)
class Exit(Op):
    """exit_group(2) with a status."""

    verb: ClassVar[str] = "exit"
    code: ClassVar[int] = 10
    status: Status


@dataclass(frozen=True, slots=True)
class Crash(Op):
    """Touch `at` with SIGSEGV and SIGBUS at their default action; where the access is allowed,
    die of SIGKILL instead. The process is gone either way, and its wait status tells which.
    """

    verb: ClassVar[str] = "crash"
    code: ClassVar[int] = 11
    access: Access
    at: Address


@dataclass(frozen=True, slots=True)
class Handle(Op):
    """Meet SIGSEGV with a handler, and with the stack at the end of a page: below that the kernel stores what the handler
    is to find. The handler fills the page with zeroes, and ends the process by SIGKILL; where the kernel cannot store
    there, the process dies of SIGSEGV.
    """

    verb: ClassVar[str] = "handle"
    code: ClassVar[int] = 54
    at: Address


@dataclass(frozen=True, slots=True)
class Kill(Op):
    """kill(2) with SIGKILL: another process, which sleeps until its turn, ends; one that has ended before is as it was."""

    verb: ClassVar[str] = "kill"
    code: ClassVar[int] = 44
    victim: Victim


@dataclass(frozen=True, slots=True)
class Threads(Op):
    """clone(2) with CLONE_THREAD: `count` idle threads, which end with the process, or when it execs."""

    verb: ClassVar[str] = "threads"
    code: ClassVar[int] = 46
    count: ThreadCount


@dataclass(frozen=True, slots=True)
class Handover(Op):
    """clone(2) with CLONE_THREAD: from now on a new thread does the process's steps, till it execs. The thread that did
    them so far ends by exit(2), which is of a thread alone, or sleeps.
    """

    verb: ClassVar[str] = "handover"
    code: ClassVar[int] = 53
    leader: Leader


@dataclass(frozen=True, slots=True)
class Wait(Op):
    """wait4(2) for `child`, which has ended and was not waited for before."""

    verb: ClassVar[str] = "wait"
    code: ClassVar[int] = 12
    child: Child
