"""What an observation shows, the state of the model that it is held against, and what was found different."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.compare.binding import Binding
from harness.compare.difference import Difference, Topic
from harness.model.adopt import ExpectedPage
from harness.model.frame import Frame as ModelFrame
from harness.model.machine import Machine
from harness.program.trace import Frame, FrameFlag, FrameSeen, Observation, PageSeen


@dataclass(slots=True)
class Look:
    """One observation and the model; `binding` lives on from one observation of a program to the next."""

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

    # ------------------------------------------------------------------ what is seen, and what is expected

    def _pages(self, number: int) -> Iterator[tuple[int, PageSeen]]:
        for vpn, page in self.seen.processes[number].pages.items():
            if page.present is not None:
                yield vpn, page

    def _is_zero(self, frame: Frame) -> bool:
        flags = self.seen.frames.get(frame, FrameSeen()).flags
        return bool(flags and flags & FrameFlag.ZERO_PAGE)

    def _expected_pages(self) -> Iterator[tuple[tuple[int, int], ExpectedPage]]:
        for number, pages in self.expected.items():
            for vpn, page in pages.items():
                yield (number, vpn), page

    def _holder_of(self, model: ModelFrame, *, but: tuple[int, int], frame: Frame | None = None) -> tuple[int, int] | None:
        """Find another page that the model maps to `model` (and the guest, where given, to `frame`)."""
        for (number, vpn), page in self._expected_pages():
            seen = self.seen.processes[number].pages.get(vpn)
            if page.frame is not model or (number, vpn) == but or not (seen and seen.present):
                continue
            if frame is None or seen.frame == frame:
                return number, vpn
        return None

    def _is_prefaulted(self, frame: ModelFrame) -> bool:
        entries = (pte for _, space in self.machine.spaces() for pte in space.page_table.ptes())
        return any(pte.frame is frame and pte.prefaulted for pte in entries)

    # ------------------------------------------------------------------ what is different

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
