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

from harness.model.fault import kernel_refusal, touch
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
        if kernel_refusal(machine, process, place, access) is not None:
            break
        pieces.append(Piece(touch(machine, process, place.vpn, access), place.offset, part))
    return pieces


def is_refused_whole(machine: Machine, process: Process, at: Address, length: int, *, copied: int) -> bool:
    """Tell whether the kernel refuses to store `copied` bytes from `at` on, because of a page of all `length` that it was
    given room for. One that looks at each page when it gets there never does.

    Such a kernel may have touched the pages that it looked at, or may have looked at the VMAs alone.
    """
    if copied == length and at.offset + length <= PAGE_SIZE:
        return False  # it is the one page that is stored to
    looks_at_all = machine.semantics.looks_at_whole_buffer
    if not looks_at_all and machine.semantics.copy_stops_at_refused_page:
        return False
    looked_at = length if looks_at_all else copied
    places = [place for place, _ in page_by_page(at, looked_at)]
    refused = any(kernel_refusal(machine, process, place, Access.STORE) is not None for place in places)
    stored_to = -(-(at.offset + copied) // PAGE_SIZE) if copied and not refused else 0
    for place in places[stored_to:]:
        pte = process.memory.page_table.lookup(place.vpn)
        if pte is not None and not pte.writable:
            machine.end_of_knowledge("whether a buffer is touched that nothing is stored to is not said")
    return refused
