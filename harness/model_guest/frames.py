"""Physical memory: numbered frames, their counts, and the lists of free ones.

A frame has two counters. `refcount` counts all holders: page-table entries, the page cache, the kernel
itself for a page table. `mapcount` counts the leaf page-table entries alone. Both are *counted*, up and
down, by whoever takes or drops a hold; nothing here ever looks who holds what.

::

    allocate ──> refcount 1 ──get/put──> refcount 0 ──> filled with junk ──> free list (last in,
                                                                                │       first out)
    take  <── batch of zeroed frames, for anonymous memory  <── refill ─────────┘

The free list believes what it is told: a frame that is freed twice is on it twice, and is handed out
twice. That is how a real allocator without debugging behaves, and what makes such a bug show elsewhere.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from harness.model_guest.trouble import OutOfMemory, Panic
from harness.program.units import PAGE_SIZE

JUNK = b"\x5a" * PAGE_SIZE
"""What a free frame is filled with, so that a use after free shows in the bytes."""

BATCH = 8
"""Frames that are taken off the free list, and zeroed, at a time for anonymous memory."""

COUNT_U8_WRAPS_AT = 256
"""Where the counter of fault `count-u8` wraps."""


COUNT_U16_WRAPS_AT = 1 << 16
"""Where that of fault `count-u16` does."""


@dataclass(slots=True)
class Frame:
    """One frame of physical memory, with what the kernel notes about it."""

    data: bytearray
    refcount: int = 0
    mapcount: int = 0
    anonymous: bool = False
    """It holds a process's own data; cleared when it is freed."""
    cached: bool = False
    """The page cache holds it. Only observers look at this."""
    in_memory: bool = False
    """It is of a file that is nowhere else."""
    free_to_go: bool = False
    """Those who map it were told that they may lose it: it may go where no entry is dirty."""
    free: bool = True
    zeroed: bool = False
    """It is taken for free and zeroed already. Only where a fault says so."""


class Frames:
    """All frames. Frame numbers run from 0; number 0 is reserved and never handed out.

    Frames come into being when they are first handed out, in ascending order, so that a big memory costs
    nothing to boot.
    """

    def __init__(self, total: int, planted: frozenset[str]) -> None:
        self.total = total
        self.planted = planted
        self.anonymous = 0
        """Count of frames that hold anonymous memory."""
        self.left: int | None = None
        """How many more may be handed out, while there is a limit."""
        self._frames = [Frame(bytearray(PAGE_SIZE), refcount=1, free=False)]
        self._free_list: list[int] = []
        self._batch: list[int] = []

    def __getitem__(self, pfn: int) -> Frame:
        """Give frame `pfn`. Panics where there is no such frame."""
        if 0 <= pfn < len(self._frames):
            return self._frames[pfn]
        raise Panic(f"bad page: pfn {pfn:#x} is not in memory")

    @property
    def free_count(self) -> int:
        """Count of frames that could be handed out, those in the batch included."""
        return self.total - len(self._frames) + len(self._free_list) + len(self._batch)

    # ------------------------------------------------------------------- handing out and freeing

    def allocate(self) -> int:
        """Hand out one zeroed frame that the caller holds once. Raises OutOfMemory."""
        pfn = self._pop()
        self[pfn].data[:] = bytes(PAGE_SIZE)
        return self._hand_out(pfn)

    def take(self, *, as_it_is: bool = False) -> int:
        """Hand out one zeroed frame for anonymous memory, from the batch; or one `as_it_is`. Raises OutOfMemory."""
        if not as_it_is and not self._batch:
            self._refill()
        pfn = self._hand_out(self._pop() if as_it_is else self._batch.pop())
        self[pfn].anonymous = True
        self.anonymous += 1
        return pfn

    def take_block(self, count: int) -> int:
        """Hand out `count` zeroed frames in a row, from a multiple of as many on. Returns the first. Raises OutOfMemory.

        A limit on what may be handed out counts them all.
        """
        if self.left is not None and self.left < count:
            raise OutOfMemory("there are not so many frames left within the limit")
        first = self._free_block(count)
        for pfn in range(first, first + count):
            if "huge-not-zeroed" not in self.planted:  # planted: it is left to who stores to it
                self[pfn].data[:] = bytes(PAGE_SIZE)
            self._hand_out(pfn)
            self[pfn].anonymous = True
        self.anonymous += count
        self.left = None if self.left is None else self.left - count
        return first

    def _free_block(self, count: int) -> int:
        """Take a block off the free list, or out of the memory that was never used; what is skipped there is free then."""
        free = set(self._free_list)
        for first in range(count, len(self._frames) - count + 1, count):
            block = range(first, first + count)
            if free.issuperset(block):
                self._free_list = [pfn for pfn in self._free_list if pfn not in block]
                return first
        first = -(-len(self._frames) // count) * count
        if first + count > self.total:
            raise OutOfMemory("there is no such block")
        skipped = range(len(self._frames), first)
        self._frames += [Frame(bytearray(JUNK)) for _ in range(first + count - len(self._frames))]
        self._free_list += skipped
        return first

    def free(self, pfn: int) -> None:
        """Put a frame on the free list, whatever its counts say, and fill it with junk."""
        frame = self[pfn]
        self.anonymous -= frame.anonymous
        frame.data[:] = JUNK
        frame.refcount = 0
        frame.anonymous = False
        frame.cached = False
        frame.free_to_go = False
        frame.free = True
        self._free_list.append(pfn)

    def _refill(self) -> None:
        batch = self._batch
        with suppress(OutOfMemory):  # then it is a smaller batch
            for _ in range(min(BATCH, self.free_count)):
                batch.append(self._pop())
        if not batch:
            raise OutOfMemory("no frame is left")
        if "batch-not-zeroed" not in self.planted:  # planted: the frames keep their old bytes
            for pfn in [each for each in batch if not self[each].zeroed]:
                self[pfn].data[:] = bytes(PAGE_SIZE)
        if "batch-hands-out-twice" in self.planted:  # planted: one slot is filled in twice
            batch.append(batch[-1])

    def _pop(self) -> int:
        if self.left is not None:
            if self.left == 0:
                raise OutOfMemory("no frame is left within the limit")
            self.left -= 1
        if self._free_list:
            return self._free_list.pop()
        if len(self._frames) >= self.total:
            raise OutOfMemory("no frame is left")
        self._frames.append(Frame(bytearray(JUNK)))
        return len(self._frames) - 1

    def _hand_out(self, pfn: int) -> int:
        frame = self[pfn]
        frame.refcount = 1
        frame.mapcount = 0
        frame.free = frame.zeroed = frame.in_memory = False
        return pfn

    # ------------------------------------------------------------------------------------ counts

    def get(self, pfn: int) -> None:
        """Take one more hold of a frame."""
        self._add(pfn, 1)

    def drop(self, pfn: int) -> int:
        """Let go of one hold, and free nothing. Returns the count that is left."""
        return self._add(pfn, -1)

    def put(self, pfn: int) -> None:
        """Let go of one hold; the last one frees the frame."""
        if self.drop(pfn) == 0:
            self.free(pfn)

    def _add(self, pfn: int, change: int) -> int:
        frame = self[pfn]
        frame.refcount += change
        if "count-u8" in self.planted:  # planted: the counter is too narrow, and wraps
            frame.refcount %= COUNT_U8_WRAPS_AT
        if "count-u16" in self.planted:  # planted: two bytes were thought to be enough for ever
            frame.refcount %= COUNT_U16_WRAPS_AT
        return frame.refcount
