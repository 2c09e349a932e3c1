"""A stretched story does to the last of more pages what it did to one."""

from __future__ import annotations

from harness.program.ops import Map, Store, Truncate
from harness.program.text import format_program, parse_program
from strategies._tests.drawing import draw_many
from strategies.around import around
from strategies.stretch import MOST_PAGES, reach, stretched

CUT = "p0: map a 2 rw private f\np0: store a[1]+5 0x11\np0: truncate f 4096\np0: load a[1]"


def test_each_page_becomes_several_and_the_last_of_them_is_touched() -> None:
    wide = stretched(parse_program(CUT), 2)

    assert wide == parse_program("p0: map a 4 rw private f\np0: store a[3]+5 0x11\np0: truncate f 4096\np0: load a[3]")


def test_ranges_stay_neighbours_and_keep_the_bytes_that_they_are_short_of() -> None:
    wide = stretched(parse_program("p0: unmap a[0]\np0: protect a[1..2]-100 r\np0: protect a[1]-4096 r"), 2)

    assert format_program(wide).split("\n")[-4:-1] == [
        "p0: unmap a[0..1]",
        "p0: protect a[2..5]-100 r",
        "p0: protect a[2]-4096 r",
    ]


def test_a_story_of_many_pages_and_what_lies_elsewhere_stay_as_they_are() -> None:
    story = parse_program(f"p0: map a {MOST_PAGES // 2 + 1} rw private anon")
    elsewhere = parse_program("p0: map a 1 rw private anon\np0: load data[1]\np0: load b[2]")

    assert stretched(story, 2) is story
    assert stretched(elsewhere, 3).steps[1:] == elsewhere.steps[1:]


def test_a_story_in_a_wide_window_has_no_neighbour_too_far_behind_in_its_file() -> None:
    """A page behind page 1,025 of a mapping of a file would be page 1,026 of the file, and no program maps that."""
    drawn = draw_many(around("p0: map a 8 rw private f\np0: store a[7] 0x11"), 600)

    assert any(isinstance(op, Map) and op.pages.window == "w" for program in drawn for op in program.steps)


def test_stories_are_told_of_wider_ranges_now_and_then() -> None:
    """A file that is cut far below the copied page: what is forgotten behind the first page beyond its end shows."""
    far = 0
    for program in draw_many(around(CUT), 300):
        ops = [op for op in program.steps if isinstance(op, Map | Store | Truncate)]
        stores = [op for op in ops if isinstance(op, Store) and op.value == 0x11 and op.at.offset == 5]
        maps = [op for op in ops if isinstance(op, Map) and op.pages.npages >= 4 and op.backing.name == "f"]
        far += any(store.at.index - op.pages.first >= 2 for store in stores for op in maps)

    assert far >= 20
    assert reach(parse_program(CUT)) == 2
