"""Operations in which the kernel itself writes to program memory, or holds on to a page of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import Byte, Child, Count, FileName, FileOffset, Length, Op, Victim
from harness.program.units import Address


class Via(enum.Enum):
    """What bytes are received through. The value is the word in the text form."""

    PIPE = "pipe"
    SOCKET = "socket"


class Query(enum.Enum):
    """A question to the kernel whose answer is known beforehand. The value is the word in the text form."""

    CWD = "cwd"
    SIGMASK = "sigmask"
    ITIMER = "itimer"
    UNAME = "uname"
    CWD_SHORT = "cwd-short"


ANSWERS = {
    Query.CWD: b"/\0",
    Query.SIGMASK: bytes(8),
    Query.ITIMER: bytes(32),
    Query.UNAME: b"".join(name.ljust(65, b"\0") for name in (b"Linux", b"(none)", b"1", b"#1", b"x86_64", b"(none)")),
    Query.CWD_SHORT: b"",
}
"""What the kernel stores: the working directory with its zero, no blocked signal, a timer that is not armed, the six names
of the system (each kernel has its own: `Semantics.uname`), and nothing where the buffer is a byte too short.
"""

STATUS_WORD = 4
"""Bytes of the word that wait4(2) stores."""


@dataclass(frozen=True, slots=True)
class Receive(Op):
    """read(2) of `length` bytes, each of them `value`, from a new pipe or socket pair that holds just these."""

    verb: ClassVar[str] = "receive"
    code: ClassVar[int] = 26
    via: Via
    at: Address
    length: Count
    value: Byte


@dataclass(frozen=True, slots=True)
class Ask(Op):
    """getcwd(2), rt_sigprocmask(2), getitimer(2) or uname(2): the answer of `ANSWERS` is stored from `at` on."""

    verb: ClassVar[str] = "ask"
    code: ClassVar[int] = 27
    query: Query
    at: Address


@dataclass(frozen=True, slots=True)
class Reap(Op):
    """wait4(2) for `child`, as `wait`, but the status word is stored at `at`."""

    verb: ClassVar[str] = "reap"
    code: ClassVar[int] = 28
    child: Child
    at: Address


@dataclass(frozen=True, slots=True)
class Force(Op):
    """pwrite(2) of `length` bytes, each of them `value`, to the process's own /proc/self/mem, which asks for no write
    permission.
    """

    verb: ClassVar[str] = "force"
    code: ClassVar[int] = 29
    optional: ClassVar[int] = 1
    at: Address
    value: Byte
    length: Length = 1


@dataclass(frozen=True, slots=True)
class Poke(Op):
    """pwrite(2) of `length` bytes, each of them `value`, to /proc/PID/mem of another process, which sleeps."""

    verb: ClassVar[str] = "poke"
    code: ClassVar[int] = 57
    optional: ClassVar[int] = 1
    victim: Victim
    at: Address
    value: Byte
    length: Length = 1


@dataclass(frozen=True, slots=True)
class Peek(Op):
    """pread(2) of `length` bytes of the process's own /proc/self/mem, which asks for no permission, to its output."""

    verb: ClassVar[str] = "peek"
    code: ClassVar[int] = 49
    at: Address
    length: Length


@dataclass(frozen=True, slots=True)
class Pin(Op):
    """vmsplice(2) of one byte into the program's pipe, which holds the frame until the byte is read."""

    verb: ClassVar[str] = "pin"
    code: ClassVar[int] = 30
    at: Address


@dataclass(frozen=True, slots=True)
class Fix(Op):
    """Register the page of `at` (whose offset is 0) as the fixed buffer of the program's ring, see io_uring(7)."""

    verb: ClassVar[str] = "fix"
    code: ClassVar[int] = 32
    at: Address


@dataclass(frozen=True, slots=True)
class Deliver(Op):
    """Have the ring store one byte into its fixed buffer, of which `at` is a byte: IORING_OP_READ_FIXED."""

    verb: ClassVar[str] = "deliver"
    code: ClassVar[int] = 33
    at: Address
    value: Byte


@dataclass(frozen=True, slots=True)
class Unfix(Op):
    """Give the fixed buffer back."""

    verb: ClassVar[str] = "unfix"
    code: ClassVar[int] = 34


@dataclass(frozen=True, slots=True)
class Unpin(Op):
    """read(2) of the oldest byte in the program's pipe; EAGAIN where there is none."""

    verb: ClassVar[str] = "unpin"
    code: ClassVar[int] = 31


@dataclass(frozen=True, slots=True)
class Splice(Op):
    """splice(2) of one byte of `file`, at `offset`, into the program's pipe, which gets the page itself and no copy."""

    verb: ClassVar[str] = "splice"
    code: ClassVar[int] = 47
    file: FileName
    offset: FileOffset


@dataclass(frozen=True, slots=True)
class Feed(Op):
    """write(2) of one byte into the program's pipe, behind what it holds."""

    verb: ClassVar[str] = "feed"
    code: ClassVar[int] = 48
    value: Byte
