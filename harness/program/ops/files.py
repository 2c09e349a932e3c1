"""Operations on the files of a program (`harness.program.files`), by descriptor and by mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import Count, FileName, FileOffset, Op
from harness.program.units import Address, PageRange


@dataclass(frozen=True, slots=True)
class Read(Op):
    """pread(2): `length` bytes of `file` from `offset` on into memory from `at` on; may cross into the next page."""

    verb: ClassVar[str] = "read"
    code: ClassVar[int] = 20
    file: FileName
    offset: FileOffset
    at: Address
    length: Count


@dataclass(frozen=True, slots=True)
class Readv(Op):
    """preadv(2): twice `length` bytes of `file` from `offset` on, into memory from `at` on, and then from `then` on."""

    verb: ClassVar[str] = "readv"
    code: ClassVar[int] = 43
    file: FileName
    offset: FileOffset
    at: Address
    then: Address
    length: Count


@dataclass(frozen=True, slots=True)
class Write(Op):
    """pwrite(2): `length` bytes of memory from `at` on into `file` from `offset` on; may make the file longer."""

    verb: ClassVar[str] = "write"
    code: ClassVar[int] = 21
    file: FileName
    offset: FileOffset
    at: Address
    length: Count


@dataclass(frozen=True, slots=True)
class Sendfile(Op):
    """sendfile(2): `length` bytes of `file` from `offset` on into the file `into` from `at` on; no memory takes part."""

    verb: ClassVar[str] = "sendfile"
    code: ClassVar[int] = 45
    file: FileName
    offset: FileOffset
    into: FileName
    at: FileOffset
    length: Count


@dataclass(frozen=True, slots=True)
class Copyrange(Sendfile):
    """copy_file_range(2): as `sendfile`, but a file is not copied over itself, nor grows by what is copied of it."""

    verb: ClassVar[str] = "copyrange"
    code: ClassVar[int] = 52


@dataclass(frozen=True, slots=True)
class Truncate(Op):
    """ftruncate(2): `file` has `size` bytes from now on, more or fewer than before."""

    verb: ClassVar[str] = "truncate"
    code: ClassVar[int] = 22
    file: FileName
    size: FileOffset


@dataclass(frozen=True, slots=True)
class Punch(Op):
    """fallocate(2), FALLOC_FL_PUNCH_HOLE: bytes `start` up to `end` of `file` (not `end` itself) read zero from now on."""

    verb: ClassVar[str] = "punch"
    code: ClassVar[int] = 56
    file: FileName
    start: FileOffset
    end: FileOffset


@dataclass(frozen=True, slots=True)
class Unlink(Op):
    """unlink(2): the name of a regular file goes; its descriptors and mappings stay."""

    verb: ClassVar[str] = "unlink"
    code: ClassVar[int] = 23
    file: FileName


@dataclass(frozen=True, slots=True)
class Sync(Op):
    """msync(2) with MS_SYNC; ENOMEM where a page of the range is not mapped."""

    verb: ClassVar[str] = "sync"
    code: ClassVar[int] = 24
    pages: PageRange
