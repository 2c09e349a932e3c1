"""The operations that programs are made of: frozen data, nothing more.

An operation is a dataclass whose fields are of the kinds below. Its `verb` is its word in the text
form and its `code` its number on the wire; text, wire format and validity checks are all derived from
the fields. A new operation is therefore one class here, one module in `harness/model/syscalls`, one
function in the agent's table, and one strategy.

No operation has a method that touches a guest or a model.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar

from harness.program.units import Address, PageRange, Prot


class Kind(enum.Enum):
    """What an integer field means; each kind has its own text form and range."""

    PROCESS = "a process, by the number in its name p0, p1, …"
    CHILD = "the process that a fork creates, or that a wait reaps"
    BYTE = "a byte value, 0 to 255"
    STATUS = "an exit status, 0 to 255"
    LENGTH = "a count of bytes, 1 to 64"


MAX_LENGTH = 64
"""The longest `print`, in bytes: a few words, and never more than a pipe takes at once."""

Proc = Annotated[int, Kind.PROCESS]
Child = Annotated[int, Kind.CHILD]
Byte = Annotated[int, Kind.BYTE]
Status = Annotated[int, Kind.STATUS]
Length = Annotated[int, Kind.LENGTH]


class Sharing(enum.Enum):
    """Whether a mapping's stores are the process's own. The value is the word in the text form."""

    PRIVATE = "private"


class Backing(enum.Enum):
    """What an untouched page of a mapping holds. The value is the word in the text form."""

    ANON = "anon"


class Access(enum.Enum):
    """How memory is touched. The value is the word in the text form."""

    LOAD = "load"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Op:
    """One step of a program, done by `process`."""

    verb: ClassVar[str]
    code: ClassVar[int]
    process: Proc


@dataclass(frozen=True, slots=True)
class Map(Op):
    """mmap(2) with MAP_FIXED: replaces whatever the range held."""

    verb: ClassVar[str] = "map"
    code: ClassVar[int] = 1
    pages: PageRange
    prot: Prot
    sharing: Sharing = Sharing.PRIVATE
    backing: Backing = Backing.ANON


@dataclass(frozen=True, slots=True)
class Unmap(Op):
    """munmap(2) of a range, which may have holes."""

    verb: ClassVar[str] = "unmap"
    code: ClassVar[int] = 2
    pages: PageRange


@dataclass(frozen=True, slots=True)
class Protect(Op):
    """mprotect(2) of a range; ENOMEM where a page of it is not mapped."""

    verb: ClassVar[str] = "protect"
    code: ClassVar[int] = 3
    pages: PageRange
    prot: Prot


@dataclass(frozen=True, slots=True)
class Load(Op):
    """Read one byte. A forbidden access is caught, reported and survived."""

    verb: ClassVar[str] = "load"
    code: ClassVar[int] = 4
    at: Address


@dataclass(frozen=True, slots=True)
class Store(Op):
    """Write one byte. A forbidden access is caught, reported and survived."""

    verb: ClassVar[str] = "store"
    code: ClassVar[int] = 5
    at: Address
    value: Byte


@dataclass(frozen=True, slots=True)
class Fill(Op):
    """Write `value` to all 4,096 bytes of the page of `at` (whose offset is 0), upwards."""

    verb: ClassVar[str] = "fill"
    code: ClassVar[int] = 6
    at: Address
    value: Byte


@dataclass(frozen=True, slots=True)
class Print(Op):
    """write(2) `length` bytes of memory from `at` on to the process's output; within one page."""

    verb: ClassVar[str] = "print"
    code: ClassVar[int] = 7
    at: Address
    length: Length


@dataclass(frozen=True, slots=True)
class Fork(Op):
    """fork(2). `child` is the name of the new process, used by no other process of the program."""

    verb: ClassVar[str] = "fork"
    code: ClassVar[int] = 8
    child: Child


@dataclass(frozen=True, slots=True)
class Exec(Op):
    """execve(2) of the agent's own image: the arena goes, the image windows are as in the file."""

    verb: ClassVar[str] = "exec"
    code: ClassVar[int] = 9


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
class Wait(Op):
    """wait4(2) for `child`, which has ended and was not waited for before."""

    verb: ClassVar[str] = "wait"
    code: ClassVar[int] = 12
    child: Child


@dataclass(frozen=True, slots=True)
class Observe(Op):
    """Not a step of the process: the whole state is observed here (`process` is p0)."""

    verb: ClassVar[str] = "observe"
    code: ClassVar[int] = 13


OPS: tuple[type[Op], ...] = (
    Map, Unmap, Protect, Load, Store, Fill, Print, Fork, Exec, Exit, Crash, Wait, Observe,
)  # fmt: skip
"""Every operation; the one registry from which verbs, codes and strategies are looked up."""

OP_BY_VERB = {op.verb: op for op in OPS}

ENDING = (Exit, Crash)
"""The operations after which their process is gone."""
