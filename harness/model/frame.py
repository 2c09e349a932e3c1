"""Frames, and the pool that hands them out.

A frame is a thing with an identity; nothing else about it tells it from another. It has no counter. How
often it is referenced is found by looking (`counts`), and so it cannot be wrong.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from harness.program.units import PAGE_SIZE

ZEROES = bytes(PAGE_SIZE)
"""The content of a page of zeroes."""

JUNK = b"\xdb" * PAGE_SIZE
"""The content of a free frame: whoever still reads it notices."""


class FrameKind(enum.Enum):
    """What a frame is used for."""

    ANON = "anonymous memory of the processes that map it"
    ZERO = "the one page of zeroes that everybody may share"
    CACHE = "a page of a file, held by the page cache"
    TABLE = "a page of a page table"
    UNDETERMINED = "the kernel's shared page or the process's own: not observed yet"
    FREE = "given back to the pool"


RECREATABLE = frozenset({FrameKind.ZERO, FrameKind.CACHE, FrameKind.UNDETERMINED})
"""The kinds that a fault may map again as they were, so that fork need not copy their entries."""

OWN = frozenset({FrameKind.ANON, FrameKind.UNDETERMINED})
"""The kinds that a process may write to in place, if nobody else holds the frame."""


@dataclass(slots=True, eq=False)
class Frame:
    """One physical page. `content` is immutable: a store puts a new one in its place.

    `may_move`: a store took a fault that the kernel may have answered with a copy, so that at the next
    observation this frame may be another of the guest's frames than before (cleared by `adopt_move`).
    `exclusive`: it belongs to one process and has not been shared by a fork since it was handed out or last
    reused (Linux: PageAnonExclusive). This is how a pin by the owner itself is told from one by somebody else.
    """

    serial: int
    kind: FrameKind
    content: bytes
    may_move: bool = False
    exclusive: bool = False

    def __repr__(self) -> str:
        return f"<frame {self.serial} {self.kind.name.lower()}>"

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes from `offset` (bytes into the page) on by `data`."""
        old = self.content
        self.content = old[:offset] + data + old[offset + len(data) :]


@dataclass(slots=True)
class FramePool:
    """Hands out frames, each once. `in_use` holds those handed out and not given back."""

    in_use: set[Frame] = field(default_factory=set)
    handed_out: int = 0

    def fresh(self, kind: FrameKind, content: bytes = ZEROES) -> Frame:
        """Hand out a frame that nobody holds, with this content (4,096 bytes)."""
        self.handed_out += 1
        frame = Frame(self.handed_out, kind, content, exclusive=kind in OWN)
        self.in_use.add(frame)
        return frame

    def give_back(self, frame: Frame) -> None:
        """Free a frame that nobody holds any more. Raises KeyError where it is free already."""
        self.in_use.remove(frame)
        frame.kind = FrameKind.FREE
        frame.content = JUNK
