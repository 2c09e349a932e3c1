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
        return next((number for number, slot in enumerate(self._slots) if slot.pfn == pfn), None)

    def take(self, data: bytes) -> int:
        """Hand out a slot, which nobody names yet. One has to be free."""
        number = self._free.pop()
        slot = self._slots[number]
        slot.data, slot.count, slot.pfn = data, 0, None
        return number

    def free(self, number: int) -> int | None:
        """Put a slot on the list of free ones. Returns the frame that was in the swap cache for it."""
        slot = self[number]
        pfn, slot.pfn = slot.pfn, None
        slot.data = JUNK
        self._free.append(number)
        return pfn
