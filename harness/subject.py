"""What every guest looks like from above: something that executes programs.

A subject is a kernel in QEMU with an agent inside (`harness.agent`), or the toy kernel that lives in
this process (`harness.model_guest`). The runner knows no more of either than this page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.program.levels import Level
from harness.program.program import Program
from harness.program.trace import Trace


@dataclass(frozen=True, slots=True)
class How:
    """What to look at while a program runs; the more, the slower."""

    dense: bool = False
    """Observe after every step, not only where the program says so and at the end."""
    count_faults: bool = False
    """Fill `Trace.faults`: minor faults of each step."""
    accounting: bool = False
    """Fill `Trace.before` and `Trace.after`: machine-wide counts around the program."""
    pte_bits: bool = False
    """Read the bits of page-table entries too, where the guest's memory can be seen from outside."""
    outside: bool = False
    """Observe from outside alone, but for the end, where the guest's memory can be seen so: that takes less of its time,
    and tells nothing of VMAs, nor of what a process sees through translations that the CPU keeps."""
    patient: bool = False
    """Wait at each observation until counts are still, also on a kernel that has not been seen to be late."""
    hasty: bool = False
    """Wait only a part of the time for an answer: one program is known that does not end, and this may be another."""
    unhurried: bool = False
    """Wait much longer: the program did not end in time, but the host had given the guest little of that time."""


class Subject(Protocol):
    """A kernel that runs programs and reports what it saw."""

    @property
    def name(self) -> str:
        """The name that `--guest` selects it by."""
        ...

    @property
    def levels(self) -> frozenset[Level]:
        """The levels that this subject can show; probed, never derived from a version."""
        ...

    @property
    def semantics(self) -> str:
        """The name of the model's `Semantics` preset that it is held to, such as `linux-6.1`."""
        ...

    def execute(self, program: Program, how: How) -> Trace:
        """Run `program` from a fresh process p0 on, and report.

        Returns: the trace. Whatever the kernel does wrong, a panic included, is in its `ending`.
        Raises: RigError where our own side fails; never anything on account of the kernel.
        """
        ...

    def restore(self) -> None:
        """Bring the state right after boot back: nothing of earlier programs is left."""
        ...

    def close(self) -> None:
        """Let go of everything. A second call does nothing."""
        ...

    def header(self) -> list[str]:
        """Say what this is, in lines for the head of a test report."""
        ...
