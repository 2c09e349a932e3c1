"""Operations that change what memory a process has: mmap(2) and its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import Backing, Op, Sharing
from harness.program.units import PageRange, Prot


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
