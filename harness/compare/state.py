"""One observation held against the model's state at the same point.

The order matters. First the guest's choices are adopted (which clean pages it kept, whether a read got the zero page),
then frames are matched one to one, then their counts are compared with the references that a walk of the model finds, and
last come the bytes. Every difference is reported as a `Difference`: what it is about, expected and observed; which
contracts it breaks is for `blame` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.compare.binding import Binding
from harness.compare.difference import Difference, Topic
from harness.compare.holders import holders_text, place_text, transient_references, transient_text
from harness.compare.rss import expected_rss, fits
from harness.compare.runs import describe_runs, expand, runs_match
from harness.compare.vmas import compare_vmas
from harness.model.adopt import (
    ExpectedPage,
    Presence,
    adopt_crowds,
    adopt_move,
    adopt_pins,
    adopt_presence,
    adopt_vanished,
    adopt_zero,
    certain_frames,
    doubtful_frames,
    expected_pages,
    forget_holes,
    optional_pages,
)
from harness.model.counts import Holders, pins, reference_index
from harness.model.fault import may_have_own_frame
from harness.model.frame import Frame as ModelFrame
from harness.model.frame import FrameKind
from harness.model.machine import Machine
from harness.model.prefault import Whose, adopt_prefault, guessed_places, settle
from harness.model.semantics import SoleOwner
from harness.program.image import SEGMENT_OF
from harness.program.trace import (
    ZEROES,
    Frame,
    FrameFlag,
    FrameSeen,
    Observation,
    PageSeen,
    Runs,
)
from harness.program.units import PAGE_SIZE, Prot, in_windows, is_wide

OWNER_COPIED, OWNER_KEPT = "owner.copied", "owner.kept"
"""Events that only the guest decides: what a store of a frame's sole owner does that need not be one or the other."""


@dataclass(slots=True)
class StateCheck:
    """Compares one observation; `binding` lives on from one observation of a program to the next."""

    machine: Machine
    seen: Observation
    binding: Binding
    differences: list[Difference] = field(default_factory=list)
    expected: dict[int, dict[int, ExpectedPage]] = field(default_factory=dict)
    doubtful: set[ModelFrame] = field(default_factory=set)
    """The frames of which the model does not know how many entries hold them."""
    idle_tasks: int = 0
    """How many tasks of the program may be in its address spaces without being asked what they have counted."""
    vanished: dict[tuple[int, Frame], ModelFrame] = field(default_factory=dict)
    """What pages have now that were free to go, by the model's frame before and the guest's now: relatives may share it."""
    over_budget: set[tuple[int, int]] = field(default_factory=set)
    """The pages, as (process, vpn), that are there and would not be if the kernel kept to its prefault budget."""

    def run(self) -> list[Difference]:
        """Adopt, match, count, read. Gives the differences, empty where all is as it should be."""
        live = {process.number for process in self.machine.live}
        if live != set(self.seen.processes):
            self._note_processes(live)
            return self.differences
        self.binding.keep_only(certain_frames(self.machine))
        for number in sorted(live):
            self._adopt_vanished(number)
            self._adopt_presence(number)
        forget_holes(self.machine)
        self._settle_guesses()
        self.binding.keep_only(self.machine.pool.in_use)
        for number in sorted(live):
            self._adopt_zero_pages(number)
        index = reference_index(self.machine)
        self.doubtful = doubtful_frames(self.machine) if self.seen.frames else set()
        for number in sorted(live):
            self.expected[number] = expected_pages(self.machine, number, index)
            self._match_presence(number)
            self._compare_prefaulted(number)
        for number in sorted(live):
            self._release_moved(number)
        self._release_gone()
        for number in sorted(live):
            self._match_frames(number)
        if not self.differences:  # counts of frames that are not the right ones mean nothing
            self._compare_counts()
            for number in sorted(live):
                self._compare_bits(number)
                self._compare_rss(number)
                self._compare_size(number)
        for number in sorted(live):
            self._compare_bytes(number)
            self._compare_vmas(number)
        return self.differences

    # ------------------------------------------------------------------ pages

    def _pages(self, number: int) -> Iterator[tuple[int, PageSeen]]:
        for vpn, page in self.seen.processes[number].pages.items():
            if page.present is not None:
                yield vpn, page

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

    def _is_zero(self, frame: Frame) -> bool:
        flags = self.seen.frames.get(frame, FrameSeen()).flags
        return bool(flags and flags & FrameFlag.ZERO_PAGE)

    def _note_processes(self, live: set[int]) -> None:
        self.differences.append(
            Difference(
                Topic.PROCESSES,
                min(live ^ set(self.seen.processes)),
                None,
                "alive: " + (", ".join(f"p{n}" for n in sorted(live)) or "nobody"),
                "alive: " + (", ".join(f"p{n}" for n in sorted(self.seen.processes)) or "nobody"),
            )
        )

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

    def _expected_pages(self) -> Iterator[tuple[tuple[int, int], ExpectedPage]]:
        for number, pages in self.expected.items():
            for vpn, page in pages.items():
                yield (number, vpn), page

    def _uncounted(self, frame: Frame) -> int:
        """Tell by how many the mapcount of a frame falls short of the pages that show it, as a negative number; else 0."""
        counted = self.seen.frames.get(frame, FrameSeen()).mapcount
        shown = sum(page.frame == frame for seen in self.seen.processes.values() for page in seen.pages.values())
        return 0 if counted is None else min(counted - shown, 0)

    def _is_of_image(self, frame: ModelFrame) -> bool:
        return any(each is frame for (name, _), each in self.machine.cache.frames.items() if name in SEGMENT_OF)

    def _holder_of(self, model: ModelFrame, *, but: tuple[int, int], frame: Frame | None = None) -> tuple[int, int] | None:
        """Find another page that the model maps to `model` (and the guest, where given, to `frame`)."""
        for number, pages in self.expected.items():
            for vpn, page in pages.items():
                seen = self.seen.processes[number].pages.get(vpn)
                if page.frame is not model or (number, vpn) == but or not (seen and seen.present):
                    continue
                if frame is None or seen.frame == frame:
                    return number, vpn
        return None

    # ------------------------------------------------------------------ counts

    def _of_huge_pages(self) -> set[ModelFrame]:
        """List the frames of which the kernel may count, not who holds them, but who holds their huge page."""
        if not self.machine.semantics.huge_pages_count_as_one:
            return set()
        return {
            page.frame
            for pages in self.expected.values()
            for vpn, page in pages.items()
            if page.frame is not None and page.frame.kind is FrameKind.ANON and is_wide(vpn)
        }

    def _adopt_crowds(self) -> None:
        """Take over which clean pages idle children and zombies have, as far as the counts tell."""
        index = reference_index(self.machine)
        for frame, seen in self.seen.frames.items():
            model = self.binding.model_of.get(frame)
            if model is None or model not in index:
                continue
            if seen.mapcount is not None and seen.mapcount < index[model].mapcount:
                adopt_crowds(self.machine, model, index[model].mapcount - seen.mapcount)

    def _compare_counts(self) -> None:
        self._adopt_crowds()
        index = reference_index(self.machine)
        uncounted = self.doubtful | self._of_huge_pages()
        for frame, seen in self.seen.frames.items():
            model = self.binding.model_of.get(frame)
            if model is None or model not in index or model in uncounted:
                continue
            self._adopt_pins(model, seen, index[model])
            self._compare_count(model, seen, index[model])

    def _adopt_pins(self, model: ModelFrame, seen: FrameSeen, holders: Holders) -> None:
        """Take over whether a store left the pins of its frame behind, which the refcount tells."""
        doubtful = sum(bool(pin.before) for pin in self.machine.pins if pin.frame is model)
        if not doubtful or seen.refcount is None:
            return
        missing = holders.references + transient_references(seen) - seen.refcount
        if 0 <= missing <= doubtful:
            adopt_pins(self.machine, model, holders.pins - missing)
            holders.pins -= missing

    def _compare_count(self, model: ModelFrame, seen: FrameSeen, holders: Holders) -> None:
        number, vpn = holders.ptes[0] if holders.ptes else (0, None)
        mappers = holders.mapcount
        if seen.mapcount is not None and seen.mapcount != mappers:
            self._note(
                Topic.MAPCOUNT, number, vpn,
                f"mapcount {mappers}: {holders_text(holders, cache=False)}", f"mapcount {seen.mapcount}",
                frame=model, excess=seen.mapcount - mappers,
            )  # fmt: skip
        references = holders.references
        transient = transient_references(seen)
        if seen.refcount is not None and seen.refcount != references + transient:
            self._note(
                Topic.REFCOUNT, number, vpn,
                f"refcount {references}{transient_text(seen)}: {holders_text(holders)}", f"refcount {seen.refcount}",
                frame=model, excess=seen.refcount - references - transient,
            )  # fmt: skip

    # ------------------------------------------------------------------ bits

    def _compare_bits(self, number: int) -> None:
        """A writable entry is a right to store without asking: only who may write, and is alone, may have one."""
        for vpn, page in self._pages(number):
            want = self.expected[number].get(vpn)
            if not page.writable or want is None or want.may_write or want.frame in self.doubtful:
                continue
            vma = self.machine.process(number).memory.vmas.find(vpn)
            if vma is None or not vma.prot & Prot.W:
                shown = f"not writable: the VMA is {vma.prot if vma else 'gone'}"
                self._note(Topic.FORBIDDEN, number, vpn, shown, "the writable bit is set", frame=want.frame)
            else:
                others = self._holder_of(want.frame, but=(number, vpn)) if want.frame else None
                holder = place_text(others) if others else "the kernel"
                self._note(
                    Topic.WRITABLE, number, vpn,
                    f"not writable: {holder} holds the frame too", "the writable bit is set",
                    frame=want.frame, partner=others,
                )  # fmt: skip

    # ------------------------------------------------------------------ resident set

    def _compare_rss(self, number: int) -> None:
        seen = self.seen.processes[number]
        want = None if seen.rss is None else expected_rss(self.machine, number, seen)
        if seen.rss is None or want is None:
            return
        semantics = self.machine.semantics
        slack = semantics.rss_slack + semantics.rss_slack_of_task * self.idle_tasks
        if not fits(want, seen.rss, slack=slack):
            counted = f"{seen.rss.anonymous} anonymous pages, {seen.rss.file} of files, {seen.rss.shared} shared"
            self._note(Topic.RSS, number, None, f"a resident set of {want}", counted)

    def _compare_size(self, number: int) -> None:
        size = self.seen.processes[number].size
        if size is not None and size.counted != size.mapped:
            self._note(Topic.SIZE, number, None, f"an address space of {size.mapped} pages", f"{size.counted} are counted")

    # ------------------------------------------------------------------ bytes

    def _compare_bytes(self, number: int) -> None:
        for vpn, page in self.seen.processes[number].pages.items():
            if page.content is None:
                continue
            want = self.expected[number].get(vpn)
            if want is not None and want.is_doubtful:
                continue
            if want is None or want.content is None or not want.readable:
                what = "not mapped" if want is None else "not readable"
                self._note(Topic.BYTES, number, vpn, what, describe_runs(page.content))
                continue
            if not any(runs_match(page.content, each) for each in want.contents):
                self._note_bytes(number, vpn, want, page.content)
            elif want.frame is not None:
                want.frame.show(0, expand(page.content))

    def _compare_vmas(self, number: int) -> None:
        found = compare_vmas(self.machine, number, self.seen.processes[number], self.binding.file_bases)
        if found:
            self._note(Topic.VMAS, number, found.vpn, found.expected, found.observed)

    def _note_bytes(self, number: int, vpn: int, want: ExpectedPage, got: Runs) -> None:
        assert want.content is not None
        content = expand(got)
        pairs = zip(want.content, content, strict=False)
        offset = next((i for i, (a, b) in enumerate(pairs) if a != b), len(content))
        value = content[offset] if offset < len(content) else None
        self._note(
            Topic.BYTES, number, vpn,
            f"byte {offset} is 0x{want.content[min(offset, PAGE_SIZE - 1)]:02x}",
            "more runs than the agent reports" if value is None else f"byte {offset} is 0x{value:02x}",
            frame=want.frame, offset=offset, value=value,
        )  # fmt: skip

    def _note(
        self,
        topic: Topic,
        number: int,
        vpn: int | None,
        expected: str,
        observed: str,
        *,
        frame: ModelFrame | None = None,
        offset: int | None = None,
        value: int | None = None,
        partner: tuple[int, int] | None = None,
        excess: int = 0,
    ) -> None:
        early = frame is not None and self._is_prefaulted(frame)
        self.differences.append(
            Difference(topic, number, vpn, expected, observed, frame, offset, value, partner, excess, early)
        )

    def _is_prefaulted(self, frame: ModelFrame) -> bool:
        entries = (pte for _, space in self.machine.spaces() for pte in space.page_table.ptes())
        return any(pte.frame is frame and pte.prefaulted for pte in entries)
