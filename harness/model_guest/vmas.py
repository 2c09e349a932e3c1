"""VMAs: which ranges of pages are mapped, with which protection, and what backs them.

Operations split VMAs at any page, and neighbours that have become alike are merged again::

    [0 ······ 4) rw      carve [1, 2)      [0,1) rw  ·removed·  [2 ·· 4) rw
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.model_guest.files import File
from harness.program.units import Prot

NOT_FORKED = 1
"""The child does not get this VMA."""
GROWS_DOWN = 4
"""The pages below this VMA become part of it when they are touched."""
STACK_GUARD_GAP = 256
"""Pages between a growing stack and what is below it."""
STACK_LIMIT = 2048
"""The most pages of a stack."""
WIPED_ON_FORK = 2
"""The child gets this VMA, and none of its pages."""
NEVER_WRITABLE = 8
"""It is shared, and its file is open for reading alone."""


@dataclass(frozen=True, slots=True)
class Vma:
    """Pages `start` up to, not including, `end`. `pgoff`: page of `file` at `start`, both None if private anonymous."""

    start: int
    end: int
    prot: Prot
    pgoff: int | None = None
    file: File | None = None
    shared: bool = False
    flags: int = 0
    """A sum of NOT_FORKED, WIPED_ON_FORK, GROWS_DOWN and NEVER_WRITABLE."""

    @property
    def vpns(self) -> range:
        """The virtual page numbers."""
        return range(self.start, self.end)

    def file_page(self, vpn: int) -> int | None:
        """Give the page of the file that backs `vpn`; None for anonymous memory."""
        return None if self.pgoff is None else self.pgoff + vpn - self.start

    def continues(self, below: Vma) -> bool:
        """Tell whether this VMA and the one right below could be one."""
        return self._kind == below._kind and below.end == self.start and below.file_page(self.start) == self.pgoff

    @property
    def _kind(self) -> tuple[Prot, int, bool, int]:
        return self.prot, self.flags, self.shared, id(self.file)

    def count(self, change: int) -> None:
        """Tell the file that this VMA's pages map it (`change` 1), or no longer do (-1)."""
        if self.file is not None:
            self.file.mapped += change * len(self.vpns)


class VmaList:
    """The VMAs of one address space: sorted, disjoint, neighbours merged where they are alike."""

    def __init__(self, planted: frozenset[str], vmas: tuple[Vma, ...] = ()) -> None:
        self.planted = planted
        self.unlisted: set[int] = set()
        """The pages that a planted fault hides from who asks a file for its mappings."""
        self._vmas = list(vmas)
        for vma in vmas:
            vma.count(1)

    def __iter__(self) -> Iterator[Vma]:
        """Give the VMAs in address order."""
        return iter(self._vmas)

    def copy(self) -> VmaList:
        """Give the child's list at fork."""
        flags = NOT_FORKED & self._heeded
        vmas = [vma for vma in self._vmas if not vma.flags & flags]
        if "fork-drops-prot-none" in self.planted:  # planted: what nobody may touch is left out
            vmas = [vma for vma in vmas if vma.prot]
        child = VmaList(self.planted, tuple(vmas))
        for vma in vmas:
            if vma.file is None or vma.file.name:
                continue
            if "fork-forgets-hold" in self.planted:  # planted: shared memory is not told that one more has it
                vma.count(-1)
            if vma.file.is_segment and "shm-fork-forgets-attach" in self.planted:  # planted: shmat alone counts who has it
                vma.count(-1)
        return child

    @property
    def _heeded(self) -> int:
        """The flags that fork looks at."""
        flags = NOT_FORKED | WIPED_ON_FORK
        if "dontfork-ignored" in self.planted:  # planted: the child gets all VMAs
            flags &= ~NOT_FORKED
        if "wipeonfork-ignored" in self.planted:  # planted: and all that is in them
            flags &= ~WIPED_ON_FORK
        return flags

    def left_out(self) -> set[int]:
        """List the pages whose frames the child does not get at fork."""
        return {vpn for vma in self._vmas if vma.flags & self._heeded for vpn in vma.vpns}

    @property
    def npages(self) -> int:
        """The number of pages in all of them."""
        return sum(len(vma.vpns) for vma in self._vmas)

    def npages_in(self, start: int, end: int) -> int:
        """Count the mapped pages of a range."""
        return sum(max(0, min(vma.end, end) - max(vma.start, start)) for vma in self._vmas)

    def touched(self, vpn: int, room: int | None) -> Vma | None:
        """Give the VMA of a page that is touched, for which a stack above may grow, by `room` pages at most."""
        vma = self.find(vpn)
        if vma is not None:
            return vma
        above = next((each for each in self._vmas if each.start > vpn), None)
        below = next((each for each in reversed(self._vmas) if each.end <= vpn), None)
        if above is None or not above.flags & GROWS_DOWN or above.end - vpn > STACK_LIMIT:
            return None
        if below is not None and below.prot and not below.flags & GROWS_DOWN and vpn - below.end < self._gap:
            return None
        if room is not None and above.start - vpn > room:
            return None
        self._vmas[self._vmas.index(above)] = replace(above, start=vpn)
        self._tidy()
        return self.find(vpn)

    @property
    def _gap(self) -> int:
        """The pages that are kept free below a stack."""
        if "stack-no-guard" in self.planted:  # planted: it may touch what is below
            return 0
        # planted: the borders are a page off
        return STACK_GUARD_GAP - ("stack-gap-too-small" in self.planted) + ("stack-gap-too-large" in self.planted)

    def advise(self, start: int, end: int, add: int, remove: int) -> None:
        """Set and clear flags of the mapped pages of a range."""
        for vma in self.carve(start, end):
            vma.count(1)
            self._vmas.append(replace(vma, flags=vma.flags & ~remove | add))
        self._tidy()

    def find(self, vpn: int) -> Vma | None:
        """Give the VMA that holds a page."""
        for vma in self._vmas:
            if vma.start <= vpn < vma.end:
                return vma
        return None

    def insert(self, vma: Vma) -> None:
        """Add a VMA where nothing is mapped."""
        vma.count(1)
        below = self.find(vma.start - 1)
        if "merge-hides-from-truncate" in self.planted and below is not None and vma.continues(below):
            self.unlisted |= {*vma.vpns}  # planted: who asks the file for its mappings is told how long that one was
        self._vmas.append(vma)
        self._tidy()

    def replace_files(self, other: Callable[[File], File]) -> None:
        """Let each shared VMA map another file."""
        for at, vma in enumerate(self._vmas):
            if vma.shared and vma.file is not None:
                vma.count(-1)
                self._vmas[at] = replace(vma, file=other(vma.file))
                self._vmas[at].count(1)

    def carve(self, start: int, end: int) -> list[Vma]:
        """Take what lies in a range out of the list. Returns the pieces, in address order."""
        self._split(start)
        self._split(end)
        inside = [vma for vma in self._vmas if start <= vma.start and vma.end <= end]
        self._vmas = [vma for vma in self._vmas if vma not in inside]
        for vma in inside:
            vma.count(-1)
        return inside

    def protect(self, start: int, end: int, prot: Prot) -> None:
        """Give the mapped pages of a range another protection."""
        cut = self.find(end)
        for vma in self.carve(start, end):
            vma.count(1)
            flags = vma.flags
            if "protect-forgets-advice" in self.planted:  # planted: the VMA is made anew with its protection alone
                flags &= GROWS_DOWN | NEVER_WRITABLE
            self._vmas.append(replace(vma, prot=prot, flags=flags))
        if "border-keeps-offset" in self.planted and cut is not None and cut.start < end:
            self._border_moves(start, end, prot, cut)
        self._tidy()

    def _border_moves(self, start: int, end: int, prot: Prot, cut: Vma) -> None:
        """Spoil what is left above of a VMA whose lower part joins the one below."""
        at, below = max(start, cut.start), self.find(max(start, cut.start) - 1)
        above = self.find(end)
        joins = below is not None and replace(cut, start=at, prot=prot, pgoff=cut.file_page(at)).continues(below)
        if joins and above is not None:  # planted: it begins elsewhere, and at the same page of its file as before
            self._vmas[self._vmas.index(above)] = replace(above, pgoff=cut.file_page(at))

    def move(self, start: int, end: int, to: int) -> None:
        """Move the mapped pages of a range, which nothing is in the way of."""
        whole = self.find(start)
        for vma in self.carve(start, end):
            vma.count(1)
            prot, flags, pgoff = vma.prot, vma.flags, vma.pgoff
            if "remap-part-loses-offset" in self.planted and whole is not None:  # planted: it is that of the whole mapping
                pgoff = whole.pgoff
            if "remap-loses-protection" in self.planted:  # planted: the new VMA is made like a fresh one
                prot = Prot.R | Prot.W
            if "remap-forgets-open-mode" in self.planted:  # planted: it may be given any protection at its new place
                flags &= ~NEVER_WRITABLE
            if "remap-loses-growth" in self.planted:  # planted: it is made like any other mapping
                flags &= ~GROWS_DOWN
            moved = replace(
                vma, start=vma.start - start + to, end=vma.end - start + to, prot=prot, flags=flags, pgoff=pgoff
            )
            self._vmas.append(moved)
        self._tidy()

    def extend(self, end: int, new_end: int) -> None:
        """Let the VMA that ends at `end` end at `new_end`, where nothing is in the way."""
        vma = self.find(end - 1)
        assert vma is not None
        longer = replace(vma, end=new_end)
        vma.count(-1)
        longer.count(1)
        self._vmas[self._vmas.index(vma)] = longer
        self._tidy()

    def any_in(self, start: int, end: int) -> bool:
        """Tell whether a page of a range is mapped."""
        return any(vma.start < end and start < vma.end for vma in self._vmas)

    def _split(self, at: int) -> None:
        vma = self.find(at)
        if vma is None or vma.start == at:
            return
        pgoff = vma.file_page(at)
        if "split-loses-offset" in self.planted:  # planted: it starts over at the lower's
            pgoff = vma.pgoff
        where = self._vmas.index(vma)
        flags = vma.flags
        if "split-loses-advice" in self.planted:  # planted: the upper part is made anew
            flags &= ~(NOT_FORKED | WIPED_ON_FORK)
        lower = replace(vma, end=at)
        if "split-loses-growth" in self.planted:  # planted: only what is at the end of a stack grows
            lower = replace(lower, flags=lower.flags & ~GROWS_DOWN)
        self._vmas[where : where + 1] = [lower, replace(vma, start=at, pgoff=pgoff, flags=flags)]

    def _tidy(self) -> None:
        merged: list[Vma] = []
        for vma in sorted(self._vmas, key=lambda each: each.start):
            if merged and self._is_one(merged[-1], vma):
                merged[-1] = replace(merged[-1], end=vma.end)
            else:
                merged.append(vma)
        self._vmas = merged

    def _is_one(self, below: Vma, vma: Vma) -> bool:
        if "merge-forgets-advice" in self.planted:  # planted: what is for no child, or wiped, is not looked at
            advised = NOT_FORKED | WIPED_ON_FORK
            return replace(vma, flags=vma.flags & ~advised).continues(replace(below, flags=below.flags & ~advised))
        if "merge-forgets-mode" in self.planted:  # planted: nor is how their descriptors were opened
            return replace(vma, flags=vma.flags & ~NEVER_WRITABLE).continues(
                replace(below, flags=below.flags & ~NEVER_WRITABLE)
            )
        if "merge-ignores-file" in self.planted and None not in (vma.file, below.file):  # planted: of a file is of a file
            return replace(vma, file=below.file).continues(below)
        if "merge-ignores-page" in self.planted and below.end == vma.start:  # planted: nor at which page of it each begins
            return replace(vma, pgoff=below.file_page(vma.start)).continues(below)
        if "merge-ignores-sharing" in self.planted:  # planted: nor is whose the stores are
            return replace(vma, shared=below.shared).continues(below)
        return vma.continues(below)
