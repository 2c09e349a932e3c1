"""The state at the diverging point, expected and observed side by side, and who holds the frames.

Rows that differ come first and are marked. What the guest did not show never counts as a difference, and
neither do counts as such: the kernel may hold a reference for a moment, and only the comparison knows
which. So counts differ where a divergence says so.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.compare.verdict import Cell, Divergence, Row
from harness.report.listing import MARK, cut

MOST_EQUAL = 12
"""How many rows that are the same on both sides are shown."""

_UNSEEN = ("?", "present", "")
_ABSENT = ("-", "unmapped")


@dataclass(frozen=True, slots=True)
class Titled:
    """The words above the two sides and the remarks, and the mark of rows whose sides are not alike."""

    left: str = "expected"
    right: str = "observed"
    remarks: str = "differs in"
    mark: str = MARK


def state_lines(
    rows: Sequence[Row],
    divergences: Iterable[Divergence],
    *,
    titled: Titled | None = None,
    width: int = 100,
) -> list[str]:
    """Write the table. `divergences` are those of the same point; they name what differs."""
    about = list(divergences)
    judged = [(row, differs_in(row, rows, about)) for row in rows]
    wrong = [(_aligned(row), what) for row, what in judged if what]
    equal = [(row, what) for row, what in judged if not what]
    lines = _table(wrong + equal[:MOST_EQUAL], titled or Titled(), width)
    if len(equal) > MOST_EQUAL:
        lines.append(f"     … and {len(equal) - MOST_EQUAL} more pages, the same on both sides")
    return lines


def differs_in(row: Row, rows: Sequence[Row], divergences: Sequence[Divergence]) -> list[str]:
    """Name what differs in a row: "frame", "counts", "bytes"."""
    named = [each for each in divergences if names_row(each, row)]
    found = []
    if row.observed.frame not in _UNSEEN and row.observed.frame != row.expected.frame:
        found.append(_kind_of_difference(row))
    elif any(each.expected.startswith(("the frame", "a frame", "the same frame")) for each in named):
        found.append("frame")
    if any(_counts(each) and _same_frame(each, row, rows) for each in divergences):
        found.append("counts")
    if (row.observed.bytes and row.observed.bytes != row.expected.bytes) or any(
        re.match(r"byte \d+ is", each.expected) for each in named
    ):
        found.append("bytes")
    return found


def _kind_of_difference(row: Row) -> str:
    absent = [cell.frame in _ABSENT for cell in (row.expected, row.observed)]
    return "presence" if any(absent) else "frame"


def names_row(divergence: Divergence, row: Row) -> bool:
    """Tell whether the divergence is about this page."""
    return divergence.where == place_of(row)


def place_of(row: Row) -> str:
    """Name the page of a row as divergences do: "p1 a[0]"."""
    return f"p{row.process} {row.page}"


def _counts(divergence: Divergence) -> bool:
    return divergence.expected.startswith(("refcount", "mapcount"))


def _same_frame(divergence: Divergence, row: Row, rows: Sequence[Row]) -> bool:
    """A count belongs to a frame, and the divergence names only one page of it."""
    frames = {each.expected.frame for each in rows if names_row(divergence, each)}
    return row.expected.frame in frames


# ---------------------------------------------------------------------------------- layout


def _aligned(row: Row) -> Row:
    """Leave out the runs at the head that are alike, where cutting would hide those that differ."""
    want, got = row.expected.bytes.split(", "), row.observed.bytes.split(", ")
    if not row.observed.bytes or want == got or max(len(want), len(got)) <= 2:
        return row
    same = 0
    while same < min(len(want), len(got)) - 1 and want[same] == got[same]:
        same += 1
    if not same:
        return row
    cells = [
        replace(cell, bytes=", ".join(["…", *runs[same:]])) for cell, runs in ((row.expected, want), (row.observed, got))
    ]
    return replace(row, expected=cells[0], observed=cells[1])


def _table(judged: Sequence[tuple[Row, list[str]]], titled: Titled, width: int) -> list[str]:
    shown = [(place_of(row), _words(row.expected), _words(row.observed), what) for row, what in judged]
    place = max([len(each[0]) for each in shown] + [4])
    sides = [[each[1] for each in shown], [each[2] for each in shown]]
    remarks = max(len(", ".join(each[3])) for each in shown)
    remarks = max(remarks, len(titled.remarks)) + 2 if remarks else 0
    left, right = _side_widths(sides, titled, width - 5 - place - 4 - remarks)
    lines = [
        f"     {'':<{place}}  {titled.left:<{sum(left) + 4}}  {titled.right}",
        f"     {'page':<{place}}  {_cells(_HEAD, left)}  {_cells(_HEAD, right)}"
        + (f"  {titled.remarks}" if remarks else ""),
    ]
    for name, expected, observed, what in shown:
        mark = titled.mark if what else ""
        line = f"{mark:>4} {name:<{place}}  {_cells(expected, left)}  {_cells(observed, right)}"
        lines.append(f"{line}  {', '.join(what)}")
    return [line.rstrip() for line in lines]


_HEAD = ("frame", "counts", "bytes")


def _words(cell: Cell) -> tuple[str, str, str]:
    zeroes = re.fullmatch(r"(\w\w) ×4096", cell.bytes)
    return cell.frame, cell.counts, f"all {zeroes[1]}" if zeroes else cell.bytes


def _side_widths(sides: list[list[tuple[str, str, str]]], titled: Titled, room: int) -> tuple[list[int], list[int]]:
    """Give each column the width of its widest word, and let the bytes share what is left of `room`."""
    widths = []
    for side, title in zip(sides, (titled.left, titled.right), strict=True):
        columns = [
            max([len(words[i]) for words in side] + [len(_HEAD[i]) if i != 1 or _any(side, 1) else 0]) for i in range(3)
        ]
        columns[2] = max(columns[2], len(title) - sum(columns[:2]) - 4)
        widths.append(columns)
    left, right = widths
    for _ in range(sum(left) + 4 + sum(right) + 4 - room):
        wider = max(left, right, key=_bytes_column)
        wider[2] = max(12, wider[2] - 1)
    return left, right


def _bytes_column(widths: list[int]) -> int:
    return widths[2]


def _any(side: list[tuple[str, str, str]], column: int) -> bool:
    return any(words[column] for words in side)


def _cells(words: tuple[str, str, str], widths: list[int]) -> str:
    shown = [f"{cut(word, width) if width else '':<{width}}" for word, width in zip(words, widths, strict=True)]
    return "  ".join(shown)


# ---------------------------------------------------------------------------------- holders


def holder_lines(rows: Sequence[Row], divergences: Iterable[Divergence], *, width: int = 100) -> list[str]:
    """Say who holds each frame of the rows that differ: by the model's walk, and by what was seen."""
    about = list(divergences)
    letters: list[str] = []
    for row in rows:
        if differs_in(row, rows, about):
            letters += [row.expected.frame, row.observed.frame]
    lines = []
    for letter in dict.fromkeys(letters):
        should = [place_of(row) for row in rows if row.expected.frame == letter]
        does = [place_of(row) for row in rows if row.observed.frame == letter]
        if letter in (*_UNSEEN, *_ABSENT, "zero") or (not should and len(does) < 2):
            continue  # a frame that only the guest has, at one page: the row says it all
        lines += _holders(rows, letter, should, does, width=width)
    return lines


def _holders(rows: Sequence[Row], letter: str, should: Sequence[str], does: Sequence[str], *, width: int) -> list[str]:
    others = next((row.expected.unmapped_holders for row in rows if row.expected.frame == letter), ())
    held = _listed([*should, *others])
    if should == does:
        text = f"frame {letter} is held by {held}, by the model's walk; the guest's page tables agree"
    elif any(row.observed.frame in _UNSEEN for row in rows):
        text = f"frame {letter} is held by {held}, by the model's walk"
    else:
        text = f"frame {letter} should be held by {held}, by the model's walk"
        text += f"; the guest maps it at {_listed(does)}"
    return textwrap.wrap(text, width, initial_indent=" " * 5, subsequent_indent=" " * 7)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"
