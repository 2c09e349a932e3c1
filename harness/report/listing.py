"""The program of a report: a line for each step, the guest's answers, and marks where it went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from harness.program.outcome import Outcome
from harness.program.program import Program
from harness.program.text import format_op, format_outcome
from harness.program.units import PAGE_SIZE, WINDOW_BY_NAME

MARK = ">>"
"""Marks what is wrong: a step, or a row of the state."""

EARLIER = "->"
"""Marks the step after which it could be seen first, where that is earlier."""


def step_lines(
    program: Program,
    outcomes: Sequence[Outcome | None] | None,
    *,
    marks: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    width: int = 100,
) -> list[str]:
    """Write the steps, numbered from 1, with outcomes; `marks` and `notes` are by 0-based step.

    Steps that the guest did not reach say so, unless `outcomes` is None: then the program stands alone.
    """
    steps = [format_op(op) for op in program.steps]
    said = [f"=> {shown}" if (shown := format_outcome(each)) else "" for each in outcomes or ()]
    column = min(max(map(len, steps), default=0), 50)
    answers = min(max(map(len, said), default=0), 44)
    lines = []
    for number, (step, answer) in enumerate(zip_longest(steps, said[: len(steps)], fillvalue=None)):
        mark = (marks or {}).get(number, "")
        note = (notes or {}).get(number, "")
        unreached = "" if note or outcomes is None else "(not reached)"
        shown = unreached if answer is None else cut(answer, 44)
        line = f"{mark:>4} {number + 1:>3}  {step or '':<{column}}  {shown:<{answers}}  {note}"
        lines.append(cut(line.rstrip(), width))
    return lines


def legend(program: Program, *, width: int = 100) -> list[str]:
    """Explain the names that the program uses, for somebody who sees the first one."""
    names = ["p0 is the first process; fork names its child."]
    for window in program.windows:
        place = WINDOW_BY_NAME[window]
        blocks = f"; huge pages may begin there and at {window}[{_HUGE_PAGE}]" if place.watched else ""
        names.append(f"{window}[0] is the page at 0x{place.vpn * PAGE_SIZE:x}{blocks}.")
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) + 1 > width - 4:
            lines.append("")
        lines[-1] = f"{lines[-1]} {name}".strip()
    return [f"    {line}" for line in lines]


_HUGE_PAGE = 512
"""The pages of 4 KiB in a huge one."""


def cut(text: str, width: int) -> str:
    """Shorten `text` to `width` characters, visibly."""
    return text if len(text) <= width else text[: width - 1] + "…"
