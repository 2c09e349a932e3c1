"""Which pages are there, and which frames play which part."""

from __future__ import annotations

from harness.compare.adoption import Adoption
from harness.compare.difference import Topic
from harness.compare.holders import place_text
from harness.model.adopt import Presence, adopt_move
from harness.model.counts import pins
from harness.model.frame import Frame as ModelFrame
from harness.model.frame import FrameKind
from harness.model.semantics import SoleOwner
from harness.program.image import SEGMENT_OF
from harness.program.trace import Frame, FrameSeen
from harness.program.units import in_windows, is_wide

OWNER_COPIED, OWNER_KEPT = "owner.copied", "owner.kept"
"""Events that only the guest decides: what a store of a frame's sole owner does that need not be one or the other."""


class FrameMatch(Adoption):
    """Matches the guest's frames with the model's, one to one."""

    __slots__ = ()

    def _match_presence(self, number: int) -> None:
        for vpn, page in self._pages(number):
            want = self.expected[number].get(vpn)
            if page.present and (want is None or want.presence is Presence.FORBIDDEN):
                what = "absent" if want else "not mapped"
                self._note(Topic.PRESENT, number, vpn, what, "present")
            elif not page.present and want and want.presence is Presence.REQUIRED:
                self._note(Topic.ABSENT, number, vpn, "present", "absent", frame=want.frame)

    def _compare_prefaulted(self, number: int) -> None:
        """Count what the kernel mapped of its own accord; file pages only where they are not free to appear."""
        semantics, memory = self.machine.semantics, self.machine.process(number).memory
        of_file = {vpn for vma in memory.vmas if vma.file for vpn in in_windows(vma.start, vma.end)}
        wants = self.expected[number]
        vpns = sorted(vpn for vpn, page in self._pages(number) if page.present and vpn in wants and wants[vpn].prefault)
        counted = [vpn for vpn in vpns if not (semantics.file_pages_may_appear and vpn in of_file)]
        if semantics.huge_pages:  # which come by the block, and no budget is for those
            counted = [vpn for vpn in counted if not is_wide(vpn)]
        budget = semantics.prefault_budget
        if len(counted) > budget > 0:  # without a budget each page is a difference of its own
            most = f"at most {budget} untouched pages present, as declared"
            self._note(Topic.BUDGET, number, counted[budget], most, f"{len(counted)} untouched pages present")
            self.over_budget.update((number, vpn) for vpn in counted[budget:])

    def _match_frames(self, number: int) -> None:
        for vpn, page in self._pages(number):
            want = self.expected[number].get(vpn)
            if not page.present or page.frame is None or want is None or want.frame is None:
                continue
            self._match_frame(number, vpn, want.frame, page.frame)

    def _release_moved(self, number: int) -> None:
        """Forget the partners of frames that were free to move, and did: others may have them by now."""
        for vpn, page in self._pages(number):
            want = self.expected[number].get(vpn)
            frame = want.frame if want is not None and page.present and page.frame is not None else None
            if frame is None or not frame.may_move:
                continue
            has_moved = self.binding.guest_of.get(frame) != page.frame
            self._note_owner(frame, has_moved)
            if has_moved:
                self.binding.release(frame)

    def _release_gone(self) -> None:
        """Forget the partners of frames that were free to move, and are nowhere: others may have them by now."""
        shown = {
            (want.frame, page.frame)
            for number, pages in self.expected.items()
            for vpn, want in pages.items()
            if (page := self.seen.processes[number].pages.get(vpn)) is not None and page.present
        }
        for model, guest in list(self.binding.guest_of.items()):
            if model.may_move and (model, guest) not in shown:
                self.binding.release(model)

    def _match_frame(self, number: int, vpn: int, want: ModelFrame, got: Frame) -> None:
        if (want.kind is FrameKind.ZERO) != self._is_zero(got):
            words = {True: "the zero page", False: "a frame of its own"}
            is_zero = want.kind is FrameKind.ZERO
            self._note(Topic.ZERO, number, vpn, words[is_zero], words[not is_zero], frame=want)
            return
        if want.kind is FrameKind.ZERO:
            return
        adopt_move(want)
        self._match_partners(number, vpn, want, got)

    def _note_owner(self, want: ModelFrame, has_moved: bool) -> None:
        """Count what the kernel did at the store of a sole owner, where it is its own affair; the summary tells of it."""
        is_free = self.machine.semantics.sole_owner_write is SoleOwner.EITHER
        is_advised = want.was_advised or want.is_paged_out
        if is_free and want in self.binding.guest_of and not is_advised and not pins(self.machine, want):
            self.machine.reach[OWNER_COPIED if has_moved else OWNER_KEPT] += 1

    def _match_partners(self, number: int, vpn: int, want: ModelFrame, got: Frame) -> None:
        bound_guest = self.binding.guest_of.get(want)
        bound_model = self.binding.model_of.get(got)
        if bound_guest == got:
            return
        if bound_guest is None and bound_model is None:
            self.binding.bind(want, got)
            if want.kind is FrameKind.CACHE:
                (self.binding.of_image if self._is_of_image(want) else self.binding.of_files).add(got)
            return
        if bound_model is not None:
            self._note_shared(number, vpn, want, got)
            return
        partner = self._holder_of(want, but=(number, vpn), frame=bound_guest)
        if partner:
            self._note(
                Topic.NOT_SHARED, number, vpn, f"the frame of {place_text(partner)}", "another frame",
                frame=want, partner=partner,
            )  # fmt: skip
        else:
            self._note(Topic.MOVED, number, vpn, "the same frame as before", "another frame", frame=want)

    def _note_shared(self, number: int, vpn: int, want: ModelFrame, got: Frame) -> None:
        """Note that a page has a frame which plays another part: that of a page, or of one that somebody has in swap."""
        bound = self.binding.model_of[got]
        partner = self._holder_of(bound, but=(number, vpn))
        shown = f"the frame of {place_text(partner)}"
        if partner is None:
            partner = next((place for place, page in self._expected_pages() if page.frame is bound), None)
            shown = f"the frame that {place_text(partner)} has in swap" if partner else shown
        excess = self._uncounted(got)
        self._note(Topic.SHARED, number, vpn, "a frame of its own", shown, frame=want, partner=partner, excess=excess)

    def _uncounted(self, frame: Frame) -> int:
        """Tell by how many the mapcount of a frame falls short of the pages that show it, as a negative number; else 0."""
        counted = self.seen.frames.get(frame, FrameSeen()).mapcount
        shown = sum(page.frame == frame for seen in self.seen.processes.values() for page in seen.pages.values())
        return 0 if counted is None else min(counted - shown, 0)

    def _is_of_image(self, frame: ModelFrame) -> bool:
        return any(each is frame for (name, _), each in self.machine.cache.frames.items() if name in SEGMENT_OF)
