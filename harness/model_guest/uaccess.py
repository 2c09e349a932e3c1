"""Stores into a process's memory that the kernel does for it, and the pipe that holds its pages.

::

    copy_to_user ── page by page ──┐
    put_user ────── one word ──────┼── touch, as the process itself would ──> the frame's bytes
    store_remote ── page by page ──┘   (store_remote: past the protection, with the copy that it takes)
    load_remote ─── page by page ──────── the entry, or what a load would bring in, past the protection

    Pipe   pin ───> frame, refcount + 1 ──> unpin: the byte that is there now, refcount − 1
           feed ──> a frame of the pipe's own, or room in the last one that is
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.model_guest.entries import live_root
from harness.model_guest.machine import AddressSpace, Fixed, Machine
from harness.model_guest.pagefault import force_fault, touch
from harness.model_guest.paging import PRESENT, WRITABLE, pfn_of
from harness.model_guest.trouble import Segfault
from harness.model_guest.vmas import Vma
from harness.program.units import PAGE_SIZE, Address, Prot

WORD = 8
"""Bytes that a copy loop moves at a time."""


def copy_to_user(machine: Machine, space: AddressSpace, at: Address, data: bytes) -> int:
    """Store bytes. Returns how many, fewer where a page refuses. Raises OutOfMemory, Stuck, Panic."""
    if machine.has("kernel-write-overruns"):  # planted: the last word is written whole
        room = PAGE_SIZE - (at.offset + len(data)) % PAGE_SIZE
        data += b"\x5a" * min(-len(data) % WORD, room % PAGE_SIZE)
    done = 0
    for place, part in _by_page(at, data):
        try:
            page = _page(machine, space, place.vpn, raw=machine.has("kernel-write-ignores-cow"))  # planted: see _page
        except Segfault:
            if not machine.has("kernel-write-ignores-protection"):
                break
            if space.vmas.find(place.vpn) is None:  # planted: all that is mapped may be stored to
                break
            page = machine.frames[force_fault(machine, space, place.vpn)].data
        page[place.offset : place.offset + len(part)] = part
        done += len(part)
    return done


def readable(machine: Machine, space: AddressSpace, vpn: int) -> int:
    """Give the frame that the kernel reads for a process. Raises Segfault where that may not read, OutOfMemory, Panic."""
    resident = _resident(machine, space, vpn)
    if resident is not None and machine.has("kernel-read-ignores-protection"):  # planted: it is mapped, after all
        return resident
    return touch(machine, space, vpn, write=False)


def put_user(machine: Machine, space: AddressSpace, at: Address, word: bytes) -> bool:
    """Store one word, all or nothing. Returns whether it was stored. Raises OutOfMemory, Stuck, Panic."""
    parts = list(_by_page(at, word))
    try:
        raw = machine.has("reap-status-ignores-cow")  # planted: see _page
        pages = [_page(machine, space, place.vpn, raw=raw) for place, _ in parts]
    except Segfault:
        return False
    for page, (place, part) in zip(pages, parts, strict=True):
        page[place.offset : place.offset + len(part)] = part
    return True


def signal_page(machine: Machine, space: AddressSpace, vpn: int) -> bytearray:
    """Give the page to store a signal's frame to. Raises Segfault, OutOfMemory, Stuck, Panic."""
    return _page(machine, space, vpn, raw=machine.has("signal-frame-ignores-cow"))  # planted: see _page


def store_remote(machine: Machine, space: AddressSpace, at: Address, data: bytes) -> int:
    """Store bytes, whatever the protection. Returns how many, fewer where a page is out of reach. Raises OutOfMemory."""
    if machine.has("mem-write-wraps"):  # planted: what lies behind the end of the page goes to its start
        room = PAGE_SIZE - at.offset
        return sum(_store_remote(machine, space, each, part) for each, part in ((at, data[:room]), (at.page, data[room:])))
    done = 0
    for place, part in _by_page(at, data):
        # planted: copy-on-write is broken for the page in which the store begins
        raw = machine.has("mem-write-breaks-cow-once") and done > 0
        if not _store_remote(machine, space, place, part, raw=raw):
            break
        done += len(part)
    return done


def _store_remote(machine: Machine, space: AddressSpace, at: Address, data: bytes, *, raw: bool = False) -> int:
    """Store bytes of one page, `raw` where a frame that is there is written to as it is. Returns how many."""
    vma = space.vmas.touched(at.vpn, machine.room(space))
    if vma is None or (vma.shared and not vma.prot & Prot.W):
        return 0
    raw = raw or machine.has("force-writes-shared-frame")  # planted: so is every one
    pfn = _resident(machine, space, at.vpn) if raw else None
    if pfn is None:
        try:
            pfn = touch(machine, space, at.vpn, write=True) if vma.shared else force_fault(machine, space, at.vpn)
        except Segfault:
            return 0
    machine.frames[pfn].data[at.offset : at.offset + len(data)] = data
    return len(data)


def load_remote(machine: Machine, space: AddressSpace, at: Address, length: int) -> bytes:
    """Read bytes, whatever the protection, up to a page that is not there. Raises OutOfMemory, Panic."""
    data = b""
    for place, part in _by_page(at, bytes(length)):
        vma = space.vmas.touched(place.vpn, machine.room(space))
        if vma is None or (not vma.prot and machine.has("mem-read-asks-protection")):  # planted: as if for a process
            break
        try:
            pfn = _frame_to_read(machine, space, vma, place.vpn)
        except Segfault:
            break
        data += machine.frames[pfn].data[place.offset : place.offset + len(part)]
        if machine.has("mem-read-ends-at-page"):  # planted: a page is looked up, and no other
            break
    return data


def _frame_to_read(machine: Machine, space: AddressSpace, vma: Vma, vpn: int) -> int:
    if machine.has("mem-read-takes-file") and vma.file is not None:  # planted: the page is found in the page cache
        page = vma.file_page(vpn)
        cached = None if page is None else vma.file.lookup(page)
        if cached is not None:
            return cached
    resident = machine.tables.lookup(live_root(space), vpn)
    return pfn_of(resident) if resident & PRESENT else force_fault(machine, space, vpn, write=False)


def _by_page(at: Address, data: bytes) -> Iterator[tuple[Address, bytes]]:
    """Cut bytes at the ends of pages."""
    while data:
        room = PAGE_SIZE - at.offset
        yield at, data[:room]
        at, data = Address(at.window, at.index + 1), data[room:]


def _page(machine: Machine, space: AddressSpace, vpn: int, *, raw: bool) -> bytearray:
    """Give the bytes to store to. `raw` is what a planted fault asks for: the frame that is there, CoW or not."""
    entry = machine.tables.lookup(live_root(space), vpn)
    if entry & WRITABLE and machine.has("kernel-write-leaves-clean"):  # planted: only the CPU marks what is stored to
        return machine.frames[pfn_of(entry)].data
    pfn = touch(machine, space, vpn, write=False) if raw else None
    if pfn is None or not machine.frames[pfn].anonymous:
        pfn = touch(machine, space, vpn, write=True)
    return machine.frames[pfn].data


def _resident(machine: Machine, space: AddressSpace, vpn: int) -> int | None:
    entry = machine.tables.lookup(live_root(space), vpn)
    return pfn_of(entry) if entry & PRESENT and pfn_of(entry) != machine.zero_pfn else None


def register_buffer(machine: Machine, space: AddressSpace, vpn: int) -> None:
    """Take hold of a page for stores to come. Raises Segfault where it may not be written, OutOfMemory, Stuck, Panic."""
    pfn = touch(machine, space, vpn, write=True)
    is_held = not machine.has("fixed-buffer-not-counted")  # planted: only the frame's number is noted
    if is_held:
        machine.frames.get(pfn)
    machine.fixed = Fixed(vpn, pfn, is_held)


def unregister_buffer(machine: Machine) -> None:
    """Let go of that page, where there is one."""
    fixed, machine.fixed = machine.fixed, None
    if fixed is not None:
        machine.frames[fixed.pfn].free_to_go = False  # what came meanwhile was not stored through an entry
    if fixed is not None and fixed.is_held:
        machine.frames.put(fixed.pfn)


@dataclass(frozen=True, slots=True)
class Spliced:
    """A byte in the pipe: the frame that it lies in, where, and whether the pipe holds that frame."""

    pfn: int
    offset: int
    is_held: bool
    takes_more: bool = False
    """What is written to the pipe next may go behind the byte, into the same frame."""


@dataclass(slots=True)
class Pipe:
    """The bytes that a program has spliced into its pipe, the oldest first."""

    SLOTS = 16

    machine: Machine
    spliced: list[Spliced] = field(default_factory=list)

    def feed(self, value: int) -> None:
        """Put a byte behind the last one, in a frame of the pipe's own. Raises OutOfMemory."""
        last = self.spliced[-1] if self.spliced else None
        if last is not None and last.takes_more and last.offset + 1 < PAGE_SIZE:
            self.machine.frames[last.pfn].data[last.offset + 1] = value
            self.push(last.pfn, last.offset + 1, takes_more=True)
            return
        pfn = self.machine.frames.allocate()
        self.machine.frames[pfn].data[0] = value
        self.spliced.append(Spliced(pfn, 0, is_held=True, takes_more=True))

    def push(self, pfn: int, offset: int, *, takes_more: bool = False) -> None:
        """Take hold of a frame, unless it is the zero page, which nobody counts."""
        is_held = pfn != self.machine.zero_pfn
        if self.machine.has("pin-not-counted"):  # planted: the pipe only notes where the byte is
            is_held = False
        if is_held:
            self.machine.frames.get(pfn)
        self.spliced.append(Spliced(pfn, offset, is_held, takes_more))

    def pop(self) -> int:
        """Give the oldest byte, and let go of its frame."""
        oldest = self.spliced.pop(0)
        value = self.machine.frames[oldest.pfn].data[oldest.offset]
        self._let_go(oldest)
        return value

    def close(self) -> None:
        """Let go of all that is left."""
        while self.spliced:
            self._let_go(self.spliced.pop())

    def _let_go(self, one: Spliced) -> None:
        if one.is_held and not self.machine.has("pin-leaks"):  # planted: the reference is forgotten
            self.machine.frames.put(one.pfn)
