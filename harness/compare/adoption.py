"""Taking over from an observation what the kernel chose."""

from __future__ import annotations

from harness.compare.look import Look
from harness.model.adopt import adopt_presence, adopt_vanished, adopt_zero, optional_pages
from harness.model.fault import may_have_own_frame
from harness.model.frame import FrameKind
from harness.model.prefault import Whose, adopt_prefault, guessed_places, settle
from harness.program.trace import ZEROES, FrameFlag, FrameSeen, PageSeen


class Adoption(Look):
    """Lets the model follow the guest, in the order that `harness.model.adopt` asks for."""

    __slots__ = ()

    def _adopt_vanished(self, number: int) -> None:
        """Take over which pages the guest has taken the bytes of, where it was told that it may, and that are back."""
        memory = self.machine.process(number).memory
        for vpn, page in self._pages(number):
            pte = memory.page_table.lookup(vpn) if page.present else None
            if pte is None or not pte.lazy:
                continue
            is_zeroed = page.content == ZEROES and all(any(each) for each in pte.frame.contents)
            if is_zeroed or (page.frame is not None and self._is_zero(page.frame)):
                was = (pte.frame.serial, page.frame or 0)
                now = adopt_vanished(self.machine, number, vpn, self.vanished.get(was))
                if now is not None and page.frame is not None:
                    self.vanished.setdefault(was, now)

    def _adopt_presence(self, number: int) -> None:
        """Take over which of the pages that may or may not be there the guest has."""
        optional = optional_pages(self.machine, number)
        for vpn, page in self._pages(number) if optional else ():
            if vpn not in optional:
                continue
            if optional[vpn]:
                adopt_presence(self.machine, number, vpn, bool(page.present))
            elif page.present:
                adopt_prefault(self.machine, number, vpn, self._whose(number, vpn, page))

    def _whose(self, number: int, vpn: int, page: PageSeen) -> Whose:
        """Tell whose frame is behind a page that was not stored to, as far as the guest shows it."""
        vma = self.machine.process(number).memory.vmas.find(vpn)
        if page.frame is None or vma is None:
            return Whose.UNKNOWN
        if self._is_zero(page.frame):
            return Whose.ZERO
        flags = self.seen.frames.get(page.frame, FrameSeen()).flags
        if vma.file is None or (flags is not None and flags & FrameFlag.ANON):
            return Whose.OWN
        cached = self.machine.cache.frames.get((vma.file, vma.file_page(vpn)))
        is_cached = flags is not None or self.binding.model_of.get(page.frame, cached) is cached
        return Whose.CACHE if is_cached or not may_have_own_frame(self.machine.semantics, vma) else Whose.OWN

    def _settle_guesses(self) -> None:
        """Take over what frames the pages have that may have been brought in before a fork."""
        guessed = guessed_places(self.machine)
        seen = {}
        for place in guessed:
            number, vpn = place.process.number, place.vpn
            self.binding.release(place.pte.frame)
            page = self.seen.processes[number].pages.get(vpn)
            if page is not None and page.present:
                seen[number, vpn] = (page.frame, self._whose(number, vpn, page))
        settle(self.machine, seen)

    def _adopt_zero_pages(self, number: int) -> None:
        """Take over whether a page of zeroes is the shared one or the process's own."""
        memory = self.machine.process(number).memory
        for vpn, page in self._pages(number):
            pte = memory.page_table.lookup(vpn) if page.present and page.frame else None
            if pte and page.frame and pte.frame.kind is FrameKind.UNDETERMINED:
                adopt_zero(pte.frame, self._is_zero(page.frame))
