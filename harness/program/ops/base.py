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
    NPAGES = "a count of pages, 1 to 16"
    STATUS = "an exit status, 0 to 255"
    LENGTH = "a count of bytes, 1 to 64"
    COUNT = "a count of bytes, 1 to 4096"
    CROWD = "a count of idle children, 1 to 400"
    THREADS = "a count of idle threads, 1 to 8"
    FRAMES = "a count of frames or pages that are left, 0 to 64"
    FILE = "a file of the program, by its name"
    IMAGE = "an image that exec runs, by its name"
    FILE_OFFSET = "a byte of a file, counted from 0"
    ROUNDS = "how often, 1 to 100,000"
    BODY = "a count of steps, 1 to 16"


MAX_FRAMES_LEFT = 64
"""The most that a limit may leave: no fork of a program needs as many frames."""

MAX_THREADS = 8
"""The most idle threads that one step makes."""

MAX_CROWD = 400
"""The most idle children that a program may have at a time."""

MAX_LENGTH = 64
"""The longest `print`, in bytes: a few words, and never more than a pipe takes at once."""

Proc = Annotated[int, Kind.PROCESS]
Victim = Annotated[int, Kind.PROCESS]
Child = Annotated[int, Kind.CHILD]
Npages = Annotated[int, Kind.NPAGES]
Byte = Annotated[int, Kind.BYTE]
Status = Annotated[int, Kind.STATUS]
Length = Annotated[int, Kind.LENGTH]
Count = Annotated[int, Kind.COUNT]
CrowdSize = Annotated[int, Kind.CROWD]
ThreadCount = Annotated[int, Kind.THREADS]
FrameCount = Annotated[int, Kind.FRAMES]
FileName = Annotated[str, Kind.FILE]
ImageName = Annotated[str, Kind.IMAGE]
FileOffset = Annotated[int, Kind.FILE_OFFSET]
Rounds = Annotated[int, Kind.ROUNDS]
Body = Annotated[int, Kind.BODY]


class Leader(enum.Enum):
    """What becomes of the thread that hands its process over to another."""

    EXITS = "exits"
    SLEEPS = "sleeps"


class Sharing(enum.Enum):
    """Whether a mapping's stores are the process's own. The value is the word in the text form."""

    PRIVATE = "private"
    SHARED = "shared"


class Opened(enum.Enum):
    """How the descriptor of a file was opened, see open(2). The value is the word in the text form; the order is that on
    the wire.
    """

    BOTH = "rw"
    READ = "r"
    WRITE = "w"


@dataclass(frozen=True, slots=True)
class Backing:
    """What an untouched page of a mapping holds: zeroes (`anon`), or a file's pages from page `pgoff` on.

    `name` is the word in the text form; `pgoff` is in pages, 0 where there is no file. `opened` is how the descriptor
    that is mapped was opened.
    """

    ANON: ClassVar[Backing]

    name: str
    pgoff: int = 0
    opened: Opened = Opened.BOTH

    def __str__(self) -> str:
        """Give the text form: `anon`, `f`, `f+2`, or `f+2:r`."""
        name = f"{self.name}+{self.pgoff}" if self.pgoff else self.name
        return name if self.opened is Opened.BOTH else f"{name}:{self.opened.value}"


Backing.ANON = Backing("anon")


class Placement(enum.Enum):
    """What mmap(2) does with an address. The value is the word in the text form; the order is that on the wire."""

    FIXED = "fixed"
    NOREPLACE = "noreplace"
    HINT = "hint"


class Populate(enum.Enum):
    """Whether mmap(2) is to bring in the pages at once. The value is the word in the text form; the order is that on the
    wire.
    """

    NO = "lazy"
    YES = "populate"


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
    COLD = "cold"
    PAGEOUT = "pageout"
    REMOVE = "remove"


class Misuse(enum.Enum):
    """A system call that must fail. The value is the word in the text form; the order is that on the wire."""

    MAP_LENGTH_0 = "map-length-0"
    MAP_NO_SHARING = "map-no-sharing"
    MAP_MISALIGNED = "map-misaligned"
    MAP_MISALIGNED_OFFSET = "map-misaligned-offset"
    MAP_BAD_FILE = "map-bad-file"
    MAP_BEYOND = "map-beyond"
    MAP_HUGE = "map-huge"
    UNMAP_MISALIGNED = "unmap-misaligned"
    UNMAP_LENGTH_0 = "unmap-length-0"
    UNMAP_BEYOND = "unmap-beyond"
    PROTECT_MISALIGNED = "protect-misaligned"
    PROTECT_BAD_BITS = "protect-bad-bits"
    REMAP_MISALIGNED = "remap-misaligned"
    REMAP_LENGTH_0 = "remap-length-0"
    REMAP_BAD_FLAGS = "remap-bad-flags"
    REMAP_FIXED_ALONE = "remap-fixed-alone"
    ADVISE_MISALIGNED = "advise-misaligned"
    ADVISE_UNKNOWN = "advise-unknown"
    SYNC_MISALIGNED = "sync-misaligned"
    SYNC_BOTH = "sync-both"
    WAIT_NOBODY = "wait-nobody"
    READ_BAD_FILE = "read-bad-file"
    WRITE_BAD_FILE = "write-bad-file"
    CLOSE_BAD_FILE = "close-bad-file"
    PIPE_BAD_POINTER = "pipe-bad-pointer"
    EXEC_MISSING = "exec-missing"
    MAP_WRAPPING = "map-wrapping"
    UNMAP_WRAPPING = "unmap-wrapping"
    PROTECT_WRAPPING = "protect-wrapping"
    REMAP_WRAPPING = "remap-wrapping"
    REMAP_OLD_WRAPPING = "remap-old-wrapping"
    ADVISE_WRAPPING = "advise-wrapping"
    SYNC_WRAPPING = "sync-wrapping"
    EXEC_BAD_PATH = "exec-bad-path"
    EXEC_BAD_ARGUMENT = "exec-bad-argument"
    EXEC_NO_PROGRAM = "exec-no-program"


@dataclass(frozen=True, slots=True)
class Op:
    """One step of a program, done by `process`. The last `optional` operands are written only where they are unusual."""

    verb: ClassVar[str]
    code: ClassVar[int]
    optional: ClassVar[int] = 0
    process: Proc
