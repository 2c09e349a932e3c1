"""A process: a name, a parent, an address space, and in the end a status."""

from __future__ import annotations

import enum
from dataclasses import dataclass

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
    output: bytes = b""

    @property
    def memory(self) -> AddressSpace:
        """The address space of a live process. Raises ValueError where the process has ended."""
        if self.space is None:
            raise ValueError(f"p{self.number} has ended and has no memory")
        return self.space
