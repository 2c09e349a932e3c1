"""A process: a name, a parent, an address space, and in the end a status."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from harness.model.address_space import AddressSpace
from harness.program.outcome import Exited, Killed


class State(enum.Enum):
    """Where a process is in its life."""

    LIVE = "runs"
    ZOMBIE = "has ended, and its parent did not wait for it yet"
    REAPED = "is gone"


@dataclass(slots=True, eq=False)
class Process:
    """A process of the program. `parent` is None for p0 and for orphans, whom init reaps.

    `space` is None once the process has ended: a zombie holds its status and nothing else.
    """

    number: int
    parent: int | None
    space: AddressSpace | None
    state: State = State.LIVE
    status: Exited | Killed | None = None
    limit: int | None = None
    """How many pages its mappings may have in all (RLIMIT_AS); None: as many as it likes. Its children inherit it."""
    crowd: AddressSpace | None = None
    """The address space that each of its idle children has: what its own was like when it forked them."""
    output: bytes = b""
    unsure: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)
    """The parts of the output that may be something else: where each begins, and what it may be."""

    def say(self, readings: tuple[bytes, ...]) -> None:
        """Append to the output the first of `readings`, or another of them."""
        if len(readings) > 1:
            self.unsure.append((len(self.output), readings))
        self.output += readings[0]

    def output_like(self, seen: bytes) -> bytes:
        """Give the output that is as much like `seen` as it may be."""
        output = self.output
        for at, readings in self.unsure:
            end = at + len(readings[0])
            if seen[at:end] in readings:
                output = output[:at] + seen[at:end] + output[end:]
        return output

    def has_room(self, more: int) -> bool:
        """Tell whether the process may map so many pages more than it has mapped. Source: may_expand_vm."""
        return self.limit is None or self.memory.vmas.npages + more <= self.limit

    @property
    def memory(self) -> AddressSpace:
        """The address space of a live process. Raises ValueError where the process has ended."""
        if self.space is None:
            raise ValueError(f"p{self.number} has ended and has no memory")
        return self.space
