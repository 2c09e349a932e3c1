"""The counts of frames, held against those who hold them."""

from __future__ import annotations

from harness.compare.difference import Topic
from harness.compare.frame_match import FrameMatch
from harness.compare.holders import holders_text, transient_references, transient_text
from harness.model.adopt import adopt_crowds, adopt_pins
from harness.model.counts import Holders, reference_index
from harness.model.frame import Frame as ModelFrame
from harness.model.frame import FrameKind
from harness.program.trace import FrameSeen
from harness.program.units import is_wide


class CountCheck(FrameMatch):
    """Compares what the kernel counts with what a walk of the model finds."""

    __slots__ = ()

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
        may_be_cached = seen.flags is None and holders.swapped > 0  # nobody tells whether it is in the swap cache
        allowed = (references + transient, references + transient + may_be_cached)
        if seen.refcount is not None and seen.refcount not in allowed:
            self._note(
                Topic.REFCOUNT, number, vpn,
                f"refcount {references}{transient_text(seen)}: {holders_text(holders)}", f"refcount {seen.refcount}",
                frame=model, excess=seen.refcount - references - transient,
            )  # fmt: skip
