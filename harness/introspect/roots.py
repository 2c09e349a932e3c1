"""Which frame is the root table of which process: found by what its tables lead to.

Each worker keeps, at an address of its slot, an identity that no other process of this guest ever had (its pid, the number
of the run that it did last, and whether that has ended, so that what the run has forked has another one). So a frame is
the root of a process if, taken for a root, it leads at that address to that identity. It needs no register of the CPU, no
stop of the machine and nothing of the kernel; and a table that is stale, or of a process that is long dead in a kernel that
never tears it down, leads to an identity that is no longer current.

A child has its parent's worker too, as it was at the fork, and may lead to the identities of all its ancestors. But only
the child's own tables lead to the child's. So of all identities that a root leads to, the youngest is its own. Where two
processes share one address space, the other of them has no root of its own, and gets that one; that can be said only when
all of RAM was searched.

A search through all of RAM takes milliseconds. A process keeps its root until it execs, and then it counts as born again;
and kernels hand the same few frames out as roots over and over, so the frames that were roots before are tried first.
"""

from __future__ import annotations

from harness.guest.mailbox import Notice
from harness.guest.ram import GuestRam
from harness.introspect.page_walk import ENTRIES, PAGE_SHIFT, ROOT_LEVEL, Format, Rights, frame_of, walk

MOST_REMEMBERED = 64
_OFFSET = (1 << PAGE_SHIFT) - 1
_PLACE = 0x000F_FFFF_FFFF_F000
_ABOVE = 1 << 37  # no machine of ours has memory there


class Roots:
    """The root tables of one machine's processes."""

    def __init__(self, ram: GuestRam, form: Format) -> None:
        self.ram = ram
        self.form = form
        self._remembered: dict[int, None] = {}
        self._of_births: dict[tuple[int, int], int] = {}  # the root of each slot and birth
        self.searches = 0
        """How often all of RAM was searched."""

    def move_to(self, ram: GuestRam) -> None:
        """Look in the machine that has taken the place of this one."""
        self.ram = ram
        self._of_births.clear()

    def find(self, notice: Notice) -> dict[int, int]:
        """Return the frame of the root table of each slot in `notice`; a slot that has none is left out."""
        found = self._kept(notice)
        found |= self._shared_with_elders(notice, found)
        if len(found) < len(notice.processes):
            taken = set(found.values())
            others, _ = self._assign(notice, [root for root in reversed(self._remembered) if root not in taken])
            found = others | found
        if len(found) < len(notice.processes):
            self.searches += 1
            others, shared = self._assign(notice, self._candidates(notice))
            found = others | shared | found
        self._remember(notice, found)
        return found

    def _kept(self, notice: Notice) -> dict[int, int]:
        """Give the roots of those who had theirs at the last look, and were not born again since."""
        roots = {slot: self._of_births.get((slot, birth)) for _, slot, birth in notice.processes}
        return {
            slot: root
            for identity, slot, _ in notice.processes
            if (root := roots[slot]) is not None and self._leads_to(root, notice, identity, slot)
        }

    def _shared_with_elders(self, notice: Notice, known: dict[int, int]) -> dict[int, int]:
        """Give the roots of those who share the address space of somebody older: it leads to what they wrote themselves."""
        births = {slot: birth for _, slot, birth in notice.processes}
        return {
            slot: root
            for identity, slot, birth in notice.processes
            if slot not in known
            for elder, root in known.items()
            if births[elder] < birth and self._leads_to(root, notice, identity, slot)
        }

    def _remember(self, notice: Notice, found: dict[int, int]) -> None:
        births = {slot: birth for _, slot, birth in notice.processes}
        self._of_births = {(slot, births[slot]): root for slot, root in found.items()}
        for root in found.values():
            self._remembered.pop(root, None)
            self._remembered[root] = None
        while len(self._remembered) > MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _assign(self, notice: Notice, candidates: list[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Give the roots of the slots that have one of their own, and of those that share another's.

        The second is true only where no root is missing from `candidates`: else a child's copy is taken for its parent.
        """
        youngest_first = sorted(notice.processes, key=lambda process: -process[2])
        owners: dict[int, list[int]] = {}
        leading: dict[int, list[int]] = {}
        for root in candidates:
            slots = [slot for identity, slot, _ in youngest_first if self._leads_to(root, notice, identity, slot)]
            if slots:
                owners.setdefault(slots[0], []).append(root)
            for slot in slots[1:]:
                leading.setdefault(slot, []).append(root)
        found = {slot: roots[0] for slot, roots in owners.items() if len(roots) == 1}
        shared = {slot: roots[0] for slot, roots in leading.items() if slot not in owners and len(roots) == 1}
        return found, shared

    def _leads_to(self, root: int, notice: Notice, identity: int, slot: int) -> bool:
        address = notice.first + slot * notice.stride
        vpn = address >> PAGE_SHIFT
        leaf = walk(self.ram, self.form, root, vpn)
        if leaf is None:
            return False
        place = self.ram.offset((frame_of(leaf, vpn) << PAGE_SHIFT) + (address & _OFFSET))
        return place is not None and place % 8 == 0 and self.ram.words[place // 8] == identity

    def _candidates(self, notice: Notice) -> list[int]:
        """List the frames that look like a root: their entry for the workers' addresses leads to some table."""
        index = notice.first >> PAGE_SHIFT + 9 * (ROOT_LEVEL - 1) & ENTRIES - 1
        first_frame = self.ram.start >> PAGE_SHIFT
        end = first_frame + (self.ram.size >> PAGE_SHIFT)
        found = []
        for pages in self.ram.used_pages():
            entries = self.ram.words[pages.start * ENTRIES + index : pages.stop * ENTRIES : ENTRIES].tolist()
            # most pages hold no entry there: those are passed over as fast as can be
            for at in [at for at, entry in enumerate(entries) if entry & 1 and (entry & _PLACE) < _ABOVE]:
                step = self.form.table(entries[at], ROOT_LEVEL, Rights())
                if step is not None and first_frame <= step[0] < end:
                    found.append(first_frame + pages.start + at)
        return found
