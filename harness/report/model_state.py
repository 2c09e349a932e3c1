"""The model's whole state as text, with what the last step changed: page tables and counts to look at.

The state is a list of keyed lines. Two states are compared by key, so that each line can be marked: `+`
is new, `*` has changed, `-` went away with this step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.compare.holders import holders_text
from harness.compare.runs import describe_runs
from harness.model.counts import Holders, reference_index
from harness.model.frame import Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import PTE, ROOT_LEVEL
from harness.model.process import Process, State
from harness.model.vma import Vma
from harness.program.files import FILES
from harness.program.image import SEGMENT_OF
from harness.program.trace import runs_of
from harness.program.units import Prot, address_of

Key = tuple[object, ...]
"""What a line is about, the same after every step: ("pte", process, vpn), …"""

NEW, CHANGED, GONE = "+", "*", "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the state. `brief` is what a change of it is told by: "was BRIEF"."""

    text: str
    brief: str = ""


@dataclass(slots=True)
class ModelView:
    """Shows one machine, step after step; frames keep their letters, and no letter is used twice.

    `everything` shows the image's VMAs too where nothing of them was touched.
    """

    machine: Machine
    everything: bool = False
    _letters: dict[Frame, str] = field(default_factory=dict)
    _before: dict[Key, Line] = field(default_factory=dict)

    def note(self) -> None:
        """Take the state as it is for what the next step is compared with."""
        self._before = dict(self._state())

    def lines(self) -> list[str]:
        """Write the state, with marks for what changed since the last call (or `note`)."""
        now = dict(self._state())
        lines = list(_marked(self._before, now))
        self._before = now
        return lines

    # ------------------------------------------------------------------ state

    def _state(self) -> Iterator[tuple[Key, Line]]:
        found = reference_index(self.machine).items()
        index = dict(sorted(found, key=lambda item: item[0].serial))
        for frame in index:
            self._name(frame)  # letters in the order in which frames were handed out
        for number in sorted(self.machine.processes):
            yield from self._process(self.machine.processes[number], index)
        yield ("frames",), Line("frames")
        for frame, holders in index.items():
            yield self._frame(frame, holders)

    def _process(self, process: Process, index: Mapping[Frame, Holders]) -> Iterator[tuple[Key, Line]]:
        number = process.number
        parent = "" if process.parent is None else f", child of p{process.parent}"
        if process.state is not State.LIVE or process.space is None:
            yield ("process", number), Line(f"p{number}{parent}: {process.state.value}")
            return
        yield ("process", number), Line(f"p{number}{parent}")
        yield ("tables", number), _tables(process)
        ptes = dict(process.space.page_table.walk())
        for vma in process.space.vmas:
            touched = [vpn for vpn in vma.vpns if vpn in ptes]
            if not (touched or self.everything or _is_arena(vma)):
                continue
            yield ("vma", number, vma.start), _vma(vma)
            for vpn in touched:
                yield ("pte", number, vpn), self._pte(vpn, ptes[vpn], vma, index[ptes[vpn].frame])

    def _pte(self, vpn: int, pte: PTE, vma: Vma, holders: Holders) -> Line:
        name, bits = self._name(pte.frame), _bits(pte, vma)
        notes = "; ".join(_notes(pte, vma, holders))
        text = f"    {_place(vpn):<8} -> {name:<5} {bits}  {notes}"
        return Line(text.rstrip(), f"{name} {bits}")

    def _frame(self, frame: Frame, holders: Holders) -> tuple[Key, Line]:
        held, count = holders_text(holders), holders.held
        if holders.swapped:
            held = ", ".join([*([held] if holders.references else []), f"{holders.swapped} perhaps in swap"])
        what = f"{count} reference{'' if count == 1 else 's'}: {held}"
        if frame.kind is FrameKind.ZERO:
            what = f"not counted: {held}"
        content = describe_runs(runs_of(frame.content))
        text = f"  {self._name(frame):<5} {content:<38}  {what}"
        return ("frame", frame), Line(text, "" if frame.kind is FrameKind.ZERO else str(count))

    def _name(self, frame: Frame) -> str:
        if frame.kind is FrameKind.ZERO:
            return "zero"
        if frame not in self._letters:
            count = len(self._letters)
            self._letters[frame] = chr(ord("A") + count % 26) + (str(count // 26) if count >= 26 else "")
        return self._letters[frame]


def _marked(before: Mapping[Key, Line], now: Mapping[Key, Line]) -> Iterator[str]:
    """Give the lines of `now`, and at their old place those that are gone."""
    for key in _merged(list(before), list(now)):
        if key not in now:
            yield f" {GONE}  {before[key].text}"
        elif key not in before:
            yield f" {NEW}  {now[key].text}"
        elif before[key] == now[key]:
            yield f"    {now[key].text}"
        else:
            yield f" {CHANGED}  {now[key].text}{_was(before[key].brief, now[key].brief)}"


def _was(before: str, now: str) -> str:
    return f"  (was {before})" if before and before != now else ""


def _merged(before: list[Key], now: list[Key]) -> list[Key]:
    """Put the keys that are gone behind the key that they stood behind."""
    merged = list(now)
    for place, key in enumerate(before):
        if key not in now:
            previous = before[place - 1] if place else None
            at = merged.index(previous) + 1 if previous in merged else 0
            merged.insert(at, key)
    return merged


# ---------------------------------------------------------------------------------- words


def _tables(process: Process) -> Line:
    levels = [level for level, _, _ in process.memory.page_table.tables()]
    counts = [f"{levels.count(level)} of level {level}" for level in range(ROOT_LEVEL, 0, -1)]
    pages = f"{len(levels)} page{'' if len(levels) == 1 else 's'}"
    return Line(f"  page tables: {pages} ({', '.join(counts)})", pages)


def _vma(vma: Vma) -> Line:
    first, last = address_of(vma.start), address_of(vma.end - 1)
    if first is None or last is None:
        where = f"pages 0x{vma.start:x} to 0x{vma.end - 1:x}"
    elif first.window != last.window:
        where = f"{first} to {last}"
    else:
        where = str(first) if first == last else f"{first.window}[{first.index}..{last.index}]"
    sharing = "shared" if vma.shared else "private"
    return Line(f"  {where}  {vma.prot}  {sharing}, {_backing(vma)}", f"{where} {vma.prot}")


def _backing(vma: Vma) -> str:
    if vma.file is None:
        return "anonymous"
    if vma.file in FILES:
        return f"page {vma.pgoff} of {vma.file}"
    return f"page {vma.pgoff} of the file's {vma.file}" if vma.file in SEGMENT_OF else "anonymous"


def _is_arena(vma: Vma) -> bool:
    place = address_of(vma.start)
    return place is not None and len(place.window) == 1


def _place(vpn: int) -> str:
    return str(address_of(vpn) or hex(vpn))


def _bits(pte: PTE, vma: Vma) -> str:
    """Write what the entry lets through; whether it may be executed is the VMA's alone."""
    rights = (("r", pte.readable), ("w", pte.writable), ("x", bool(vma.prot & Prot.X)))
    return "".join(letter if allowed else "-" for letter, allowed in rights)


def _notes(pte: PTE, vma: Vma, holders: Holders) -> Iterator[str]:
    """Say what the entry does not: what a store would do, and what the kernel may do otherwise."""
    if vma.shared:
        yield "the file's own page" if vma.file in FILES else "shared with all who map it"
    elif vma.prot & Prot.W and not pte.writable:
        if holders.held > 1 or pte.frame.kind in (FrameKind.ZERO, FrameKind.CACHE):
            yield "CoW: a store copies"
        elif not pte.write_pending:
            yield "sole holder: a store keeps the frame"
    if pte.write_pending:
        yield "the kernel may have set w already"
    if pte.swapped:
        yield "it may be in swap"
    elif pte.optional:
        yield "the kernel may leave this entry out"
    if pte.frame.may_move:
        yield "the kernel may have copied the frame"
