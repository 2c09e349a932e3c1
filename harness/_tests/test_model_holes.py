"""Holes that are punched into files: what goes, and what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.frame import FrameKind
from harness.model.machine import Machine
from harness.model.presets import LINUX_6_1, PRESETS
from harness.model.step import step
from harness.program.outcome import Failed, Loaded, Outcome
from harness.program.text import parse_program
from harness.program.units import PAGE_SIZE, WINDOW_BY_NAME

A = WINDOW_BY_NAME["a"].vpn


def done(text: str, machine: Machine | None = None) -> tuple[Machine, tuple[Outcome, ...]]:
    """Do the steps; give the machine, and what the last one may answer."""
    machine = machine or Machine(LINUX_6_1)
    outcomes = [step(machine, op).outcomes for op in parse_program(text).steps]
    return machine, outcomes[-1]


def cached(machine: Machine) -> list[int]:
    """List the pages of f that are in the page cache."""
    return sorted(index for name, index in machine.cache.frames if name == "f")


def present(machine: Machine) -> list[int]:
    """List the pages of window a that have an entry."""
    table = machine.process(0).memory.page_table
    return [index for index in range(4) if table.lookup(A + index) is not None]


ALL = "p0: map a 4 rw shared f\np0: load a[0]\np0: load a[1]\np0: load a[2]\np0: load a[3]\n"


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        (0, 4096, [1, 2, 3]),
        (4096, 12288, [0, 3]),
        (100, 8292, [0, 2, 3]),
        (4097, 8191, [0, 1, 2, 3]),
        (8192, 65536, [0, 1]),
        (61440, 65536, [0, 1, 2, 3]),
    ],
)
def test_whole_pages_go_from_the_cache_and_from_every_mapping(start: int, end: int, left: list[int]) -> None:
    machine, _ = done(f"{ALL}p0: punch f {start} {end}")

    assert cached(machine) == present(machine) == left


@pytest.mark.parametrize(
    ("at", "value"),
    [("a[0]+99", 0x40), ("a[0]+100", 0), ("a[1]+5", 0), ("a[2]+99", 0), ("a[2]+100", 0x50), ("a[3]", 0x58)],
)
def test_a_part_of_a_page_is_zeroed_and_the_rest_stays(at: str, value: int) -> None:
    assert done(f"{ALL}p0: punch f 100 8292\np0: load {at}")[1] == (Loaded(value),)


def test_both_ends_of_a_hole_may_lie_in_one_page() -> None:
    machine, _ = done(f"{ALL}p0: punch f 4196 4296")

    page = machine.cache.content("f", 1)
    assert [page[at] for at in (99, 100, 199, 200)] == [0x48, 0, 0, 0x48]


def test_private_copies_stay_and_what_was_not_copied_goes() -> None:
    machine, _ = done("p0: map a 2 rw private f\np0: store a[0] 0x11\np0: load a[1]\np0: punch f 0 8192")

    pte = machine.process(0).memory.page_table.lookup(A)
    assert pte is not None
    assert pte.frame.kind is FrameKind.ANON
    assert present(machine) == [0]


def test_the_size_stays() -> None:
    machine, _ = done("p0: punch f 0 65536")

    assert machine.cache.file("f").size == 3 * PAGE_SIZE + 1000


def test_a_page_that_a_pipe_holds_keeps_its_bytes_there() -> None:
    text = "p0: map a 1 rw shared f\np0: store a[0] 0x11\np0: pin a[0]\np0: punch f 0 4096\np0: store a[0] 0x22\np0: unpin"

    assert done(text)[1] == (Loaded(0x11),)


@pytest.mark.parametrize(("start", "left"), [(0, []), (100, [0])])
def test_linux_takes_the_entries_behind_a_hole_in_the_first_page(start: int, left: list[int]) -> None:
    text = f"{ALL}p0: punch f {start} 200"
    other = Machine(replace(LINUX_6_1, hole_in_first_page_unmaps_rest=False))

    assert present(done(text)[0]) == left
    assert present(done(text, other)[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("clears", [True, False])
def test_what_is_stored_behind_the_end_may_be_taken_with_the_hole(clears: bool) -> None:
    machine = Machine(replace(LINUX_6_1, punch_clears_tail=clears))
    text = "p0: map a 4 rw shared f\np0: store a[3]+2000 0x11\np0: punch f 12388 16384\np0: load a[3]+2000"

    assert done(text, machine)[1] == (Loaded(0 if clears else 0x11),)
    assert machine.cache.content("f", 3)[99:1000] == b"\x58" + bytes(900)


@pytest.mark.parametrize(("start", "end"), [(100, 100), (200, 100)])
def test_a_range_of_no_bytes_is_refused(start: int, end: int) -> None:
    assert done(f"p0: punch f {start} {end}")[1] == (Failed("EINVAL"),)


@pytest.mark.parametrize(
    ("what", "preset", "errors"),
    [
        ("rw private anon", "linux-6.1", {"EINVAL"}),
        ("rw private f", "linux-6.1", {"EACCES"}),
        ("r shared f:r", "linux-6.1", {"EACCES"}),
        ("r shared f", "linux-6.1", {""}),
        ("r shared f", "linux-5.10", {"EACCES"}),
        ("rw shared f", "linux-5.10", {""}),
        ("rw private anon", "any-kernel", {"EINVAL", "EACCES"}),
    ],
)
def test_remove_wants_shared_memory_that_may_be_written(what: str, preset: str, errors: set[str]) -> None:
    outcomes = done(f"p0: map a 1 {what}\np0: advise a[0] remove", Machine(PRESETS[preset]))[1]

    assert {each.errno if isinstance(each, Failed) else "" for each in outcomes} == errors


def test_remove_punches_where_the_mapping_has_its_file() -> None:
    machine, _ = done(ALL + "p0: map b 2 rw shared f+1\np0: advise b[1] remove")

    assert cached(machine) == present(machine) == [0, 1, 3]


def test_a_hole_that_may_have_left_the_cache_may_still_be_one() -> None:
    """Nobody has stored to the page, so paging it out may have let it go, and then there was nothing to zero a part of."""
    machine, _ = done("p0: map a 2 rw shared m\np0: load a[1]\np0: advise a[1] pageout\np0: punch m 4096 4196")

    assert machine.cache.frames["m", 1].is_hole
