"""A cell of the coverage table: a situation in which an operation can meet a page."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import product


class Memory(enum.Enum):
    """What kind of memory a page is. The value is the word in tables."""

    ANON = "private anon"
    ZERO = "zero page"
    SHARED_ANON = "shared anon"
    PRIVATE_FILE = "private file"
    SHARED_FILE = "shared file"
    MEMFD = "memfd"
    BRK = "brk"
    STACK = "stack"
    TEXT = "image text"
    DATA = "image data"


class State(enum.Enum):
    """What has become of a page before the operation; the last that is true counts, downwards."""

    FRESH = "fresh"
    """No entry: nobody touched it here."""
    RESIDENT = "resident"
    """One entry maps its frame, and never did another."""
    FORMERLY_SHARED = "formerly shared"
    """One entry maps its frame now, and others did."""
    SHARED_2 = "shared by 2"
    SHARED_3 = "shared by 3+"
    MOVED = "moved"
    """mremap brought it here."""
    PROTECTED = "protected away"
    """A frame of the process's own, which its VMA no longer lets it write; or a page that it may not touch at all."""


class Action(enum.Enum):
    """What is done to the page. The value heads a column of tables."""

    STORE = "store"
    LOAD = "load"
    KERNEL_WRITE = "k.write"
    FORK = "fork"
    EXEC = "exec"
    EXIT = "exit"
    MUNMAP = "unmap"
    MPROTECT = "protect"
    MREMAP = "remap"
    MADVISE = "advise"


class Role(enum.Enum):
    """Who does it: p0, a child of p0, or somebody further down."""

    PARENT = "parent"
    CHILD = "child"
    GRANDCHILD = "grandchild"


@dataclass(frozen=True, slots=True)
class Situation:
    """One situation."""

    memory: Memory
    state: State
    action: Action
    role: Role

    def __str__(self) -> str:
        """Write it as a phrase: "private anon, shared by 2, store, child"."""
        return ", ".join(part.value for part in (self.memory, self.state, self.action, self.role))

    @classmethod
    def parse(cls, text: str) -> Situation:
        """Read what `str` wrote. Raises ValueError where a word is unknown."""
        memory, state, action, role = text.split(", ")
        return cls(Memory(memory), State(state), Action(action), Role(role))


IMPOSSIBLE = {
    (Memory.ZERO, State.FRESH): "the zero page is there, or else the page is no zero page yet",
    (Memory.ZERO, State.PROTECTED): "the zero page is never the process's own; untouchable, it counts as what it was",
    (Memory.TEXT, State.MOVED): "pages of the image stay where they are (`check_operands` in harness/program/program.py)",
    (Memory.DATA, State.MOVED): "pages of the image stay where they are (`check_operands` in harness/program/program.py)",
}
"""What no page can be like, and why."""


def is_possible(memory: Memory, state: State) -> bool:
    """Tell whether a page can be like that."""
    return (memory, state) not in IMPOSSIBLE


SITUATIONS = tuple(Situation(*words) for words in product(Memory, State, Action, Role) if is_possible(*words[:2]))
"""Every cell that a program can reach."""
