"""Operations that touch memory, by the process itself or by a kernel that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import Byte, Length, Op
from harness.program.units import Address


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
