"""What operations are made of: the base class, and the kinds of their operands."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar


class Kind(enum.Enum):
    """What an integer field means; each kind has its own text form and range."""

    PROCESS = "a process, by the number in its name p0, p1, …"
    CHILD = "the process that a fork creates, or that a wait reaps"
    BYTE = "a byte value, 0 to 255"
    STATUS = "an exit status, 0 to 255"
    LENGTH = "a count of bytes, 1 to 64"
    COUNT = "a count of bytes, 1 to 4096"


MAX_LENGTH = 64
"""The longest `print`, in bytes: a few words, and never more than a pipe takes at once."""

Proc = Annotated[int, Kind.PROCESS]
Child = Annotated[int, Kind.CHILD]
Byte = Annotated[int, Kind.BYTE]
Status = Annotated[int, Kind.STATUS]
Length = Annotated[int, Kind.LENGTH]
Count = Annotated[int, Kind.COUNT]


class Sharing(enum.Enum):
    """Whether a mapping's stores are the process's own. The value is the word in the text form."""

    PRIVATE = "private"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Backing:
    """What an untouched page of a mapping holds: zeroes (`anon`), or a file's pages from page `pgoff` on.

    `name` is the word in the text form; `pgoff` is in pages, 0 where there is no file.
    """

    ANON: ClassVar[Backing]

    name: str
    pgoff: int = 0

    def __str__(self) -> str:
        """Give the text form: `anon`, `f`, or `f+2`."""
        return f"{self.name}+{self.pgoff}" if self.pgoff else self.name


Backing.ANON = Backing("anon")


class Access(enum.Enum):
    """How memory is touched. The value is the word in the text form."""

    LOAD = "load"
    STORE = "store"


class Advice(enum.Enum):
    """What madvise(2) is told about memory. The value is the word in the text form; the order is that on the wire."""

    DONTNEED = "dontneed"
    FREE = "free"
    DONTFORK = "dontfork"
    DOFORK = "dofork"
    WIPEONFORK = "wipeonfork"
    KEEPONFORK = "keeponfork"
    POPULATE_READ = "populate-read"
    POPULATE_WRITE = "populate-write"


@dataclass(frozen=True, slots=True)
class Op:
    """One step of a program, done by `process`."""

    verb: ClassVar[str]
    code: ClassVar[int]
    process: Proc
