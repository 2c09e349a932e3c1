"""The search for a kernel's counts, in memory that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.introspect.count_search import Diary, Found, definitions_of, find_arrays, width_of
from harness.introspect.kernel_memory import KernelMemory
from harness.introspect.page_walk import page_table_format
from harness.introspect.symbols import KernelFile, Segment, Symbol

HOLDERS = {7: [1, 2, 3, 3, 3], 8: [1, 2, 3, 2, 2], 9: [1, 2, 3, 3, 2], 12: [1, 1, 1, 1, 1]}
"""Frames and what holds them; of the last nothing is learnt."""


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    with closing(GuestRam("x86_64", 1)) as ram:
        yield ram


def watched(ram: GuestRam, *arrays: Found, width: int = 1) -> Diary:
    """Let time pass, in a machine that counts in these arrays, and counts processes as well."""
    diary = Diary()
    for moment in range(5):
        ram.bytes[5 * PAGE_SIZE] = min(moment, 2) + 1
        for array in arrays:
            for frame, series in HOLDERS.items():
                stored = series[moment] - array.bias
                ram.bytes[array.place(frame) : array.place(frame) + width] = stored.to_bytes(width, "little")
        diary.note(ram)
    return diary


@pytest.mark.parametrize("array", [Found(0x3000, 1, 0), Found(0x3001, 4, 1), Found(0x2FF8, 24, 0), Found(0x3000, 512, 0)])
def test_an_array_is_found_by_what_it_counts(ram: GuestRam, array: Found) -> None:
    assert find_arrays(watched(ram, array), HOLDERS) == [array]


def test_two_arrays_are_both_found(ram: GuestRam) -> None:
    dense, wide = Found(0x3000, 2, 0), Found(0x6000, 64, 1)

    assert find_arrays(watched(ram, wide, dense), HOLDERS) == [dense, wide]


def test_what_follows_one_frame_alone_is_no_array(ram: GuestRam) -> None:
    assert find_arrays(watched(ram), HOLDERS) == []


def test_two_frames_are_too_few_to_tell_a_line(ram: GuestRam) -> None:
    few = {frame: HOLDERS[frame] for frame in (7, 8, 12)}

    assert find_arrays(watched(ram, Found(0x3000, 2, 0)), few) == []


@pytest.mark.parametrize(
    ("array", "above", "width"),
    [
        (Found(0x3000, 4, 0), 0, 4),
        (Found(0x3000, 16, 0), 0xAB, 2),
        (Found(0x3002, 6, 0), 0, 2),
        (Found(0x3001, 3, 0), 0, 1),
    ],
)
def test_a_count_has_the_bytes_that_are_no_other_thing(ram: GuestRam, array: Found, above: int, width: int) -> None:
    watched(ram, array)
    for frame in HOLDERS:
        if array.stride >= 8:
            ram.bytes[array.place(frame) + 3] = above

    assert width_of(array, ram, list(HOLDERS)) == width


KERNEL = 0xFFFF_8000_0000_0000


def kernel(ram: GuestRam, *symbols: Symbol) -> tuple[KernelFile, KernelMemory]:
    segments = (Segment(KERNEL, ram.size, 0),)
    form = page_table_format("x86_64", "")
    assert form is not None
    return KernelFile(Path("kernel"), symbols, segments), KernelMemory(ram, form, None, segments)


def test_an_object_where_the_array_begins_names_it(ram: GuestRam) -> None:
    label, before, array = (
        Symbol("_end", KERNEL + 0x3000, 0),
        Symbol("other", KERNEL + 0x2000, 0x1000),
        Symbol("page.refs", KERNEL + 0x3000, 0x200),
    )

    found = next(definitions_of(Found(0x3000, 2, 0), ram, *kernel(ram, label, before, array), width=2))

    assert (found.symbol, found.pointer, found.element, found.stride) == (r"^page\.refs$", False, "u16", 0)


def test_a_pointer_in_a_larger_object_leads_to_it(ram: GuestRam) -> None:
    ram.words[0x1008 // 8] = KERNEL + 0x3000
    allocator, label = Symbol("ALLOCATOR", KERNEL + 0x1000, 24), Symbol("_end", KERNEL + 0x3000, 0)

    found = next(definitions_of(Found(0x3004, 16, 1), ram, *kernel(ram, label, allocator), width=4))

    assert (found.symbol, found.pointer, found.at, found.offset) == ("^ALLOCATOR$", True, 8, 4)
    assert (found.element, found.stride, found.bias) == ("u32", 16, 1)


def test_a_pointer_that_leads_nowhere_may_be_one_of_the_direct_map(ram: GuestRam) -> None:
    ram.words[0x1000 // 8] = 0xFFFF_0000_0000_3000
    frames = Symbol("frames", KERNEL + 0x1000, 8)

    (found,) = definitions_of(Found(0x3004, 16, 0), ram, *kernel(ram, frames), width=4)

    assert (found.symbol, found.pointer, found.offset, found.direct_map) == ("^frames$", True, 4, 0xFFFF_0000_0000_0000)


def test_a_label_will_do_where_nothing_else_leads_there(ram: GuestRam) -> None:
    found = next(definitions_of(Found(0x3000, 2, 0), ram, *kernel(ram, Symbol("_end", KERNEL + 0x3000, 0)), width=2))

    assert (found.symbol, found.pointer) == ("^_end$", False)


def test_no_symbol_is_made_up(ram: GuestRam) -> None:
    far = Symbol("far", KERNEL + 0x8000, 64)

    assert list(definitions_of(Found(0x3000, 2, 0), ram, *kernel(ram, far), width=2)) == []
