"""What the kernel does to a process's memory on its behalf, inside a system call.

It goes the way of the process's own loads and stores (`fault.touch`): the same pages are brought in, the same copies
made. Only a refusal is another: no signal, but the call stops there, with a short count, or EFAULT if it had done nothing
yet. So both functions here work page by page, and give what they could do.

Source: copy_from_user, copy_to_user; do_user_addr_fault, fixup_exception (a fault of the kernel's own that cannot be made
good ends the copy where it is).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.model.fault import refusal, touch
from harness.model.frame import Frame
from harness.model.machine import Machine
from harness.model.process import Process
from harness.program.ops import Access
from harness.program.units import PAGE_SIZE, Address


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of one frame, from byte `offset` of it on."""

    frame: Frame
    offset: int
    length: int

    def overlaps(self, other: Piece) -> bool:
        """Tell whether they have a byte in common."""
        return (
            self.frame is other.frame
            and self.offset < other.offset + other.length
            and other.offset < self.offset + self.length
        )


@dataclass(slots=True)
class Transfer:
    """The pieces that one call reads, and those that it writes: nobody says in which order it does, or in what portions."""

    sources: list[Piece] = field(default_factory=list)
    targets: list[Piece] = field(default_factory=list)

    def meets_itself(self) -> bool:
        """Tell whether it writes to what it reads."""
        return any(source.overlaps(target) for source in self.sources for target in self.targets)


def after(at: Address, length: int) -> Address:
    """Give the address `length` bytes behind `at`, in the same window."""
    pages, offset = divmod(at.offset + length, PAGE_SIZE)
    return Address(at.window, at.index + pages, offset)


def page_by_page(at: Address, length: int) -> Iterator[tuple[Address, int]]:
    """Cut `length` bytes from `at` on at the ends of pages: (address, length) of each part, upwards."""
    while length > 0:
        part = min(length, PAGE_SIZE - at.offset)
        yield at, part
        at, length = after(at, part), length - part


def reach(machine: Machine, process: Process, at: Address, length: int, access: Access) -> list[Piece]:
    """Touch `length` bytes of memory from `at` on as `access` does, up to the first page where it may not.

    Gives the pieces that were reached; none where not even the first byte was.
    """
    pieces: list[Piece] = []
    for place, part in page_by_page(at, length):
        if refusal(machine, process, place, access) is not None:
            break
        pieces.append(Piece(touch(machine, process, place.vpn, access), place.offset, part))
    return pieces
