"""The two states side by side: one row for each page that either side has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.compare.holders import transient_references, unmapped_holders
from harness.compare.runs import describe_runs
from harness.compare.state import StateCheck
from harness.compare.verdict import Cell, Row
from harness.model.adopt import ExpectedPage, Presence
from harness.model.counts import Holders, reference_index
from harness.model.frame import Frame as ModelFrame
from harness.model.frame import FrameKind
from harness.program.trace import FrameFlag, FrameSeen, PageSeen, runs_of
from harness.program.units import address_of


class Letters:
    """Names frames A, B, C, … in the order in which they are met, the same on both sides."""

    def __init__(self, check: StateCheck) -> None:
        self.check = check
        self.names: dict[object, str] = {}

    def model(self, frame: ModelFrame) -> str:
        """Name a frame of the model."""
        if frame.kind is FrameKind.ZERO:
            return "zero"
        return self._name(frame)

    def guest(self, frame: int) -> str:
        """Name a frame of the guest: as the model's frame whose part it plays, where it does."""
        seen = self.check.seen.frames.get(frame, FrameSeen())
        if seen.flags and seen.flags & FrameFlag.ZERO_PAGE:
            return "zero"
        return self._name(self.check.binding.model_of.get(frame, frame))

    def _name(self, key: object) -> str:
        if key not in self.names:
            count = len(self.names)
            self.names[key] = chr(ord("A") + count % 26) + (str(count // 26) if count >= 26 else "")
        return self.names[key]


def state_rows(check: StateCheck) -> Iterator[Row]:
    """Give a row for each page that is present on either side, or whose bytes were seen."""
    letters = Letters(check)
    index = reference_index(check.machine)
    for number, pages in sorted(check.expected.items()):
        for vpn, seen in sorted(check.seen.processes[number].pages.items()):
            want = pages.get(vpn)
            if want is not None and (number, vpn) in check.over_budget:
                want = replace(want, frame=None)
            is_expected = want is not None and want.frame is not None
            if not (is_expected or seen.present or seen.content is not None):
                continue
            yield Row(
                number,
                str(address_of(vpn) or hex(vpn)),
                _expected(want, letters, index),
                _observed(seen, check, letters),
            )


def _expected(want: ExpectedPage | None, letters: Letters, index: dict[ModelFrame, Holders]) -> Cell:
    if want is None:
        return Cell("unmapped")
    shown = describe_runs(runs_of(want.content)) if want.content is not None else ""
    if want.frame is None or want.presence is not Presence.REQUIRED:
        return Cell("-", "", shown)
    holders = index.get(want.frame)
    counts = ""
    if holders and want.frame.kind is not FrameKind.ZERO:
        counts = _counts(holders.mapcount, holders.references)
    return Cell(letters.model(want.frame), counts, shown, tuple(unmapped_holders(holders)) if counts and holders else ())


def _observed(seen: PageSeen, check: StateCheck, letters: Letters) -> Cell:
    shown = describe_runs(seen.content) if seen.content is not None else ""
    if seen.present is False:
        return Cell("-", "", shown)
    if seen.frame is None:
        return Cell("?" if seen.present is None else "present", "", shown)
    frame = check.seen.frames.get(seen.frame, FrameSeen())
    name = letters.guest(seen.frame)
    refcount = None if frame.refcount is None else frame.refcount - transient_references(frame)
    return Cell(name, "" if name == "zero" else _counts(frame.mapcount, refcount), shown)


def _counts(mapcount: int | None, refcount: int | None) -> str:
    """Write "map 1 ref 2"; a count that is not known is left out."""
    parts = [("map", mapcount), ("ref", refcount)]
    return " ".join(f"{word} {count}" for word, count in parts if count is not None)
