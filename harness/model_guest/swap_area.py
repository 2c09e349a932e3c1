"""The swap area: numbered slots of a page each, and the list of free ones."""

from __future__ import annotations

from dataclasses import dataclass

from harness.program.units import PAGE_SIZE

SLOTS = 256
"""How many pages the area holds."""

JUNK = b"\x5b" * PAGE_SIZE
"""What a free slot holds, so that who reads it all the same notices."""


@dataclass(slots=True)
class Slot:
    """One slot: the bytes of a page, how many entries name it, and the frame in the swap cache that has its bytes."""

    data: bytes = JUNK
    count: int = 0
    pfn: int | None = None


class SwapArea:
    """All slots. The list of free ones believes what it is told, as that of frames does."""

    def __init__(self) -> None:
        self._slots = [Slot() for _ in range(SLOTS)]
        self._free = list(reversed(range(SLOTS)))
        self._slot_of: dict[int, int] = {}
        self.written: dict[int, bytes] = {}
        """What was written for a frame. Only a fault looks here."""

    def __getitem__(self, number: int) -> Slot:
        """Give a slot; the first, where the number is of none."""
        return self._slots[number] if number < SLOTS else self._slots[0]

    @property
    def free_count(self) -> int:
        """How many slots can be handed out."""
        return len(self._free)

    def slot_of(self, pfn: int) -> int | None:
        """Give the slot whose bytes the frame has, where it is in the swap cache."""
        return self._slot_of.get(pfn)

    def put_in_cache(self, number: int, pfn: int) -> None:
        """Note that a frame is in the swap cache, with the bytes of a slot."""
        self[number].pfn = pfn
        self._slot_of[pfn] = number

    def take_from_cache(self, number: int) -> int | None:
        """Note that no frame is in the swap cache for a slot any more. Returns the one that was."""
        pfn, self[number].pfn = self[number].pfn, None
        if pfn is not None and self._slot_of.get(pfn) == number:
            del self._slot_of[pfn]
        return pfn

    def take(self, data: bytes) -> int:
        """Hand out a slot, which nobody names yet. One has to be free."""
        number = self._free.pop()
        self.take_from_cache(number)
        self[number].data, self[number].count = data, 0
        return number

    def free(self, number: int) -> None:
        """Put a slot on the list of free ones."""
        self[number].data = JUNK
        self._free.append(number)
