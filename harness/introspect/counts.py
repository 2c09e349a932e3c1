"""The kernel's own counts of frames, read in its memory: for guests that publish none.

A reader knows one way of keeping counts, and the definition chooses it (`[counts]`, see `KernelCounts`). Which frame a
count belongs to, and whether it is right, is for others to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from harness.errors import DefinitionError
from harness.guest.definition_values import KernelCounts
from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.introspect.kernel_memory import KernelMemory, Records
from harness.introspect.page_walk import ENTRIES, Format
from harness.introspect.struct_page import StructPageCounts
from harness.introspect.symbols import KernelFile, Symbol, read_kernel_file
from harness.program.trace import Frame, FrameSeen

_POINTER = 8


class Counts(Protocol):
    """Reads the counts of frames."""

    @property
    def name(self) -> str:
        """Say in a few words where the counts are read."""
        ...

    @property
    def holds(self) -> str:
        """What is counted: "references" or "entries"."""
        ...

    @property
    def tells_free(self) -> bool:
        """Whether a frame in use can be told from a free one."""
        ...

    def read(self, frame: Frame) -> FrameSeen:
        """Return what the kernel has for `frame` now; what it does not count is None."""
        ...

    def move_to(self, ram: GuestRam) -> None:
        """Read in the machine that has taken the place of this one."""
        ...


class SymbolCounts:
    """An array of counts, or of records with a count in them, that the kernel's symbol table names."""

    def __init__(self, wanted: KernelCounts, file: KernelFile, memory: KernelMemory) -> None:
        """Find the array. Raises DefinitionError where the symbol is not to be found, or leads to no memory."""
        self._wanted = wanted
        self._symbol = file.find(wanted.symbol)
        self._stride = wanted.stride or wanted.width
        ram = memory.ram
        address = self._array(memory)
        self._first = ram.start // PAGE_SIZE if wanted.index == "ram" else 0
        frames = (ram.start + ram.size) // PAGE_SIZE - self._first
        self._records = Records(memory, address, self._stride, self._length(frames))
        if not self._records.is_there:
            raise _nowhere(self._symbol, address)

    @property
    def name(self) -> str:
        """See `Counts`."""
        return f"symbol {self._symbol.name}"

    @property
    def holds(self) -> str:
        """See `Counts`."""
        return self._wanted.holds

    @property
    def tells_free(self) -> bool:
        """See `Counts`."""
        return self._wanted.tells_free

    def read(self, frame: Frame) -> FrameSeen:
        """See `Counts`."""
        wanted = self._wanted
        stored = self._records.number(frame - self._first, wanted.offset, wanted.width, signed=wanted.is_signed)
        if stored is None or stored in wanted.uncounted:
            return FrameSeen()
        count = 1 if stored == wanted.sole else stored + wanted.bias
        return FrameSeen(refcount=count) if wanted.holds == "references" else FrameSeen(mapcount=count)

    def place(self, frame: Frame) -> int | None:
        """Return where in RAM (see `GuestRam`) the count of `frame` lies."""
        return self._records.place(frame - self._first, self._wanted.offset, self._wanted.width)

    def move_to(self, ram: GuestRam) -> None:
        """See `Counts`."""
        self._records.move_to(ram)

    def _array(self, memory: KernelMemory) -> int:
        """Return the virtual address of the array's first element."""
        if not self._wanted.pointer:
            return self._symbol.address + self._wanted.base
        pointer = memory.read(self._symbol.address + self._wanted.at, _POINTER)
        if pointer is None:
            raise _nowhere(self._symbol, self._symbol.address)
        return int.from_bytes(pointer, "little") + self._wanted.base

    def _length(self, frames: int) -> int:
        """Count the elements: as many as there are frames, or as the symbol has room for."""
        if self._wanted.pointer or not self._symbol.size:
            return frames
        room = (self._symbol.size - self._wanted.base) // self._stride
        if room <= 0:
            raise DefinitionError(
                f"the symbol {self._symbol.name} has {self._symbol.size} bytes, which is no array of counts "
                f"from byte {self._wanted.base} on: is it a pointer to one (counts.pointer = true)?"
            )
        return min(frames, room)


def _nowhere(symbol: Symbol, address: int) -> DefinitionError:
    what = f"{symbol.name} at {symbol.address:#x}"
    said = "lies" if address == symbol.address else f"leads to {address:#x}, which lies"
    return DefinitionError(
        f"the symbol {what} {said} in no memory of the guest; counts.direct_map may say where the kernel sees "
        "physical address 0"
    )


def open_counts(
    wanted: KernelCounts | None, kernel: Path, *, banner: str, ram: GuestRam, form: Format, root: int
) -> Counts | None:
    """Open the reader that a definition wants, or that fits a kernel that calls itself `banner`; None without one.

    `kernel` is its image, and `root` the frame of the root table of some process. Raises DefinitionError where the
    definition wants a reader, and there is nothing for it to read.
    """
    if wanted is not None and wanted.reader == "symbol":
        file = read_kernel_file(wanted.symbols or kernel)
        # arm64 keeps the kernel's half of the address space below a root table of its own
        below = root if form.user_entries < ENTRIES else None
        return SymbolCounts(wanted, file, KernelMemory(ram, form, below, file.segments, wanted.direct_map))
    if wanted is None and not banner.startswith("Linux version "):
        return None
    try:
        return StructPageCounts(ram, form)
    except DefinitionError:
        if wanted is None:
            return None
        raise
