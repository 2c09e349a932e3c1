"""The kernel's own memory by its virtual addresses, read in the guest's RAM.

Three ways lead from an address of the kernel to physical memory, and the first that goes is taken: the direct map, where
the definition says where it lies; the kernel's own page tables, which are the truth, and on x86-64 hang below the root
table of every process; and the ELF file, whose segments say where QEMU has put them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.introspect.page_walk import PAGE_SHIFT, Format, frame_of, walk
from harness.introspect.symbols import Segment

_OFFSET = PAGE_SIZE - 1


@dataclass(frozen=True, slots=True)
class KernelMemory:
    """A kernel's addresses. `root` is the frame of a root table below which the kernel is mapped; None without one."""

    ram: GuestRam
    form: Format
    root: int | None = None
    segments: Sequence[Segment] = ()
    direct_map: int | None = None

    def offset(self, address: int) -> int | None:
        """Return where in RAM (see `GuestRam`) the byte at virtual `address` lies; None where it lies in no RAM."""
        for physical in (self._by_direct_map(address), self._by_tables(address), self._by_segments(address)):
            place = None if physical is None else self.ram.offset(physical)
            if place is not None:
                return place
        return None

    def read(self, address: int, length: int) -> bytes | None:
        """Return `length` bytes from `address` on; None where some of them lie in no RAM."""
        read = bytearray()
        while len(read) < length:
            at = address + len(read)
            place = self.offset(at)
            if place is None:
                return None
            read += self.ram.bytes[place : place + min(length - len(read), PAGE_SIZE - (at & _OFFSET))]
        return bytes(read)

    def _by_direct_map(self, address: int) -> int | None:
        if self.direct_map is None or address < self.direct_map:
            return None
        return address - self.direct_map

    def _by_tables(self, address: int) -> int | None:
        vpn = address >> PAGE_SHIFT
        leaf = walk(self.ram, self.form, self.root, vpn) if self.root is not None else None
        if leaf is None or not leaf.present:
            return None
        return (frame_of(leaf, vpn) << PAGE_SHIFT) + (address & _OFFSET)

    def _by_segments(self, address: int) -> int | None:
        for segment in self.segments:
            if segment.start <= address < segment.start + segment.size:
                return address - segment.start + segment.place
        return None


class Records:
    """An array of the kernel's memory, of records of one size; the places of its pages are looked up once."""

    def __init__(self, memory: KernelMemory, address: int, stride: int, count: int) -> None:
        """Find `count` records of `stride` bytes from `address` on. What lies in no RAM is not there."""
        self._ram = memory.ram
        self._skip = address & _OFFSET
        self._stride = stride
        self._count = count
        first = address - self._skip
        npages = (self._skip + count * stride + _OFFSET) // PAGE_SIZE
        self._places = [memory.offset(first + page * PAGE_SIZE) for page in range(npages)]

    @property
    def is_there(self) -> bool:
        """Whether any of it lies in RAM."""
        return any(place is not None for place in self._places)

    def move_to(self, ram: GuestRam) -> None:
        """Read in the machine that has taken the place of this one."""
        self._ram = ram

    def place(self, index: int, offset: int, width: int) -> int | None:
        """Return where in RAM (see `GuestRam`) the `width` bytes at `offset` of record `index` lie; None where in none."""
        if not 0 <= index < self._count:
            return None
        page, within = divmod(self._skip + index * self._stride + offset, PAGE_SIZE)
        if within + width > PAGE_SIZE:
            return None  # a number that straddles pages is none that a kernel could count with
        start = self._places[page] if page < len(self._places) else None
        return None if start is None else start + within

    def number(self, index: int, offset: int, width: int, *, signed: bool = False) -> int | None:
        """Return the number of `width` bytes at `offset` of record `index`; None where there is none."""
        place = self.place(index, offset, width)
        if place is None:
            return None
        return int.from_bytes(self._ram.bytes[place : place + width], "little", signed=signed)
