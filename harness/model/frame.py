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
    DETACHED = "once a page of a file, or never more than a buffer, which only a pipe holds"
    FREE = "given back to the pool"


RECREATABLE = (FrameKind.ZERO, FrameKind.CACHE, FrameKind.UNDETERMINED)
"""The kinds that a fault may map again as they were, so that fork need not copy their entries."""

OWN = (FrameKind.ANON, FrameKind.UNDETERMINED)
"""The kinds that a process may write to in place, if nobody else holds the frame."""


@dataclass(slots=True, eq=False)
class Frame:
    """One physical page. `content` is immutable: a store puts a new one in its place.

    `may_move`: a store took a fault that the kernel may have answered with a copy, so that at the next
    observation this frame may be another of the guest's frames than before (cleared by `adopt_move`).
    `exclusive`: it belongs to one process and has not been shared by a fork since it was handed out or last
    reused (Linux: PageAnonExclusive). This is how a pin by the owner itself is told from one by somebody else.
    `also`: what it may hold in place of `content`, until somebody looks: its bytes were free to go (MADV_FREE) when it
    was written to.
    `doubtful_owner`: nobody knows whether it is exclusive: a fork that failed may have shared it on the way, or its page
    may have been in swap, and be back in a frame that nobody has shared yet, or it was reused if it is of a huge page.
    `is_hole`: it is a page of a file that nobody has stored to, and holds what the file has where it has no page.
    `is_paged_out`: as such it may have left the page cache, whose next frame for the page is another one.
    `was_advised`: it was advised to be free, so that a kernel may hold it for a while on the way to its list of such.
    """

    serial: int
    kind: FrameKind
    content: bytes
    may_move: bool = False
    exclusive: bool = False
    also: tuple[bytes, ...] = ()
    was_advised: bool = False
    is_hole: bool = False
    is_paged_out: bool = False
    doubtful_owner: bool = False

    def __repr__(self) -> str:
        return f"<frame {self.serial} {self.kind.name.lower()}>"

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes from `offset` (bytes into the page) on by `data`."""
        self.is_hole = False
        self._settle([old[:offset] + data + old[offset + len(data) :] for old in self.contents])

    def write_some(self, offset: int, data: bytes, *, least: int) -> None:
        """Replace the bytes from `offset` on by `data`, or by its first `least` bytes or more; nobody knows how many."""
        self.is_hole = False
        lengths = range(len(data), least - 1, -1)
        self._settle([old[:offset] + data[:n] + old[offset + n :] for n in lengths for old in self.contents])

    @property
    def contents(self) -> tuple[bytes, ...]:
        """What it may hold: one content, and more where nobody has looked since it was free to go."""
        return (self.content, *self.also) if self.also else (self.content,)

    def add_content(self, other: bytes) -> None:
        """Note that it may hold this as well."""
        self._settle([*self.contents, other])

    def show(self, offset: int, data: bytes) -> None:
        """Learn that the bytes from `offset` on are `data`: of the possible contents those that fit are left."""
        fits = [each for each in self.contents if each[offset : offset + len(data)] == data]
        if self.also and fits:
            self._settle(fits)

    def _settle(self, contents: list[bytes]) -> None:
        self.content, *also = dict.fromkeys(contents)
        self.also = tuple(also)


@dataclass(slots=True)
class FramePool:
    """Hands out frames, each once. `in_use` holds those handed out and not given back."""

    in_use: set[Frame] = field(default_factory=set)
    handed_out: int = 0

    def fresh(self, kind: FrameKind, content: bytes = ZEROES, also: tuple[bytes, ...] = ()) -> Frame:
        """Hand out a frame that nobody holds, with this content (4,096 bytes), or, where it is a copy, one of `also`."""
        self.handed_out += 1
        frame = Frame(self.handed_out, kind, content, exclusive=kind in OWN, also=also)
        self.in_use.add(frame)
        return frame

    def give_back(self, frame: Frame) -> None:
        """Free a frame that nobody holds any more. Raises KeyError where it is free already."""
        self.in_use.remove(frame)
        frame.kind = FrameKind.FREE
        frame.content = JUNK
