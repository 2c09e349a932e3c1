"""The guest's own state before and after one step, from an observation after every step.

Where a step's *outcome* is wrong, the comparison ends before it looks at the state; what the guest had
then is in the trace all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare.verdict import Cell, Row
from harness.program.trace import Frame, FrameFlag, FrameSeen, Observation, PageSeen, Trace
from harness.program.units import address_of

_MOST_RUNS = 4


def before_and_after(trace: Trace, step: int) -> list[Row]:
    """Give a row for each page seen around 0-based `step`: `expected` is before it, `observed` after.

    Empty where the trace has no observation on both sides of the step.
    """
    sides = [_observation(trace.observations, after) for after in (step, step + 1)]
    before, after = sides
    if before is None or after is None:
        return []
    names: dict[Frame, str] = {}
    rows = []
    for process in sorted(set(before.processes) | set(after.processes)):
        vpns = {vpn for each in (before, after) for vpn in _pages(each, process)}
        for vpn in sorted(vpns):
            cells = [_cell(each, process, vpn, names) for each in (before, after)]
            if any(cell.frame != "-" for cell in cells):
                rows.append(Row(process, str(address_of(vpn) or hex(vpn)), cells[0], cells[1]))
    return rows


def _observation(observations: Sequence[Observation], after: int) -> Observation | None:
    return next((each for each in observations if each.after == after), None)


def _pages(seen: Observation, process: int) -> dict[int, PageSeen]:
    return dict(seen.processes[process].pages) if process in seen.processes else {}


def _cell(seen: Observation, process: int, vpn: int, names: dict[Frame, str]) -> Cell:
    page = _pages(seen, process).get(vpn)
    if page is None or not page.present:
        return Cell("-")
    shown = ", ".join(f"{value:02x} ×{length}" for value, length in (page.content or ())[:_MOST_RUNS])
    if page.frame is None:
        return Cell("present", "", shown)
    frame = seen.frames.get(page.frame, FrameSeen())
    if frame.flags and frame.flags & FrameFlag.ZERO_PAGE:
        return Cell("zero", "", shown)
    name = names.setdefault(page.frame, _letter(len(names)))
    counts = [("map", frame.mapcount), ("ref", frame.refcount)]
    return Cell(name, " ".join(f"{word} {n}" for word, n in counts if n is not None), shown)


def _letter(count: int) -> str:
    return chr(ord("A") + count % 26) + (str(count // 26) if count >= 26 else "")
