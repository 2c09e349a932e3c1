"""What the caller of an operation sees. Values, not behaviour; the text form is in `text`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.program.units import Address


class Signal(enum.Enum):
    """The signals that programs can meet; the values are Linux's numbers."""

    SIGILL = 4
    SIGTRAP = 5
    SIGABRT = 6
    SIGBUS = 7
    SIGFPE = 8
    SIGKILL = 9
    SIGSEGV = 11
    SIGSYS = 31


class Code(enum.Enum):
    """`si_code` of a memory fault. The values are (signal, number) of sigaction(2)."""

    MAPERR = (Signal.SIGSEGV, 1)
    ACCERR = (Signal.SIGSEGV, 2)
    PKUERR = (Signal.SIGSEGV, 4)
    ADRALN = (Signal.SIGBUS, 1)
    ADRERR = (Signal.SIGBUS, 2)


@dataclass(frozen=True, slots=True)
class Done:
    """The operation did what it does, and has no more to say."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load returned this byte."""

    value: int


@dataclass(frozen=True, slots=True)
class Printed:
    """A write, to the output or to a file, took this many bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Received:
    """The kernel stored this many bytes into memory."""

    length: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """A caught signal: its number, si_code (a number where `Code` has no name) and si_addr.

    `at` is None where si_addr lies outside every window; `raw_address` then tells it.
    """

    signal: Signal | int
    code: Code | int
    at: Address | None
    raw_address: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A system call failed; `errno` is its symbolic name, such as ENOMEM."""

    errno: str


@dataclass(frozen=True, slots=True)
class Exited:
    """wait4 reported a normal exit with this status."""

    status: int


@dataclass(frozen=True, slots=True)
class Killed:
    """wait4 reported death by this signal."""

    signal: Signal | int


@dataclass(frozen=True, slots=True)
class Gone:
    """The process ended at this step as the operation says (exit, crash)."""


@dataclass(frozen=True, slots=True)
class RanOn:
    """The parent of a vfork ran before its child had exec'd or ended."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The process did not survive a step that it should have; `why` is a short phrase."""

    why: str


Outcome = Done | Loaded | Printed | Received | Faulted | Failed | Exited | Killed | Gone | RanOn | Lost
"""Anything that a step can report."""
