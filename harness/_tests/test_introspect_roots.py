"""Root tables, found in memory that is made by hand: each process has four tables, and its worker in a page of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.guest.mailbox import Notice
from harness.guest.ram import GuestRam
from harness.introspect.page_walk import X86
from harness.introspect.roots import MOST_REMEMBERED, Roots
from harness.introspect.view import Observer
from harness.program.text import parse_program
from harness.program.trace import FrameSeen, Trace

FIRST, STRIDE = 0x40_0000 + 0x3040, 0x5000  # where slot 0 has its identity, and how far the next is
TABLE = 0x07


class HandMade:
    """Lays address spaces into a machine's memory; `root` of the n-th is frame 100 + 10 n."""

    def __init__(self, ram: GuestRam) -> None:
        self.ram = ram
        self.spaces = 0

    def space(self, frames: dict[int, int]) -> int:
        """Make an address space that has the worker of each slot in the frame given; the root's frame."""
        root = 100 + 10 * self.spaces
        self.spaces += 1
        for level, index in enumerate((0, 0, 2)):
            self.ram.words[(root + level) * 512 + index] = (root + level + 1) << 12 | TABLE
        for slot, frame in frames.items():
            index = (FIRST + slot * STRIDE) >> 12 & 511
            self.ram.words[(root + 3) * 512 + index] = frame << 12 | 0x867
        return root

    def worker(self, frame: int, slot: int, identity: int) -> None:
        """Let a frame hold the identity of the process in `slot`."""
        at = (frame << 12) + (FIRST + slot * STRIDE) % 4096
        self.ram.words[at // 8] = identity


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    ram = GuestRam("x86_64", 32)
    yield ram
    ram.close()


@pytest.fixture
def made(ram: GuestRam) -> HandMade:
    return HandMade(ram)


def notice(*processes: tuple[int, int, int]) -> Notice:
    return Notice(3, FIRST, STRIDE, processes)


def test_a_process_is_found_by_its_identity_and_remembered(ram: GuestRam, made: HandMade) -> None:
    root = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    roots = Roots(ram, X86())

    found = [roots.find(notice((7 << 32 | 1, 0, 1))) for _ in range(3)]

    assert found == [{0: root}] * 3
    assert roots.searches == 1


def test_a_child_that_still_has_its_parents_worker_is_not_taken_for_it(ram: GuestRam, made: HandMade) -> None:
    parent = made.space({0: 50})
    child = made.space({0: 50, 1: 51})
    made.worker(50, 0, 7 << 32 | 4)
    made.worker(51, 1, 8 << 32)

    found = Roots(ram, X86()).find(notice((7 << 32 | 4, 0, 1), (8 << 32, 1, 2)))

    assert found == {0: parent, 1: child}


def test_processes_that_share_an_address_space_share_its_root(ram: GuestRam, made: HandMade) -> None:
    root = made.space({0: 50, 1: 51})
    made.worker(50, 0, 7 << 32 | 4)
    made.worker(51, 1, 8 << 32)

    assert Roots(ram, X86()).find(notice((7 << 32 | 4, 0, 1), (8 << 32, 1, 2))) == {0: root, 1: root}


def test_a_child_is_not_taken_for_a_parent_whose_new_root_is_not_known_yet(ram: GuestRam, made: HandMade) -> None:
    roots = Roots(ram, X86())
    child = made.space({1: 51})
    made.worker(51, 1, 8 << 32)
    roots.find(notice((8 << 32, 1, 2)))
    ram.words[(child + 3) * 512 + (FIRST >> 12 & 511)] = 50 << 12 | 0x865
    parent = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 4)

    assert roots.find(notice((7 << 32 | 4, 0, 1), (8 << 32, 1, 2))) == {0: parent, 1: child}


def test_tables_of_a_process_that_is_gone_lead_to_nobody(ram: GuestRam, made: HandMade) -> None:
    made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 4)
    after_exec = made.space({0: 51})
    made.worker(51, 0, 7 << 32)
    roots = Roots(ram, X86())

    assert roots.find(notice((7 << 32, 0, 2))) == {0: after_exec}
    assert roots.find(notice((7 << 32 | 5, 0, 2))) == {}


def test_an_identity_that_two_roots_lead_to_is_nobodys(ram: GuestRam, made: HandMade) -> None:
    made.space({0: 50})
    made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)

    assert Roots(ram, X86()).find(notice((7 << 32 | 1, 0, 1))) == {}


def test_entries_that_lead_out_of_memory_are_passed_over(ram: GuestRam, made: HandMade) -> None:
    root = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    for frame, entry in ((60, 1 << 40 | TABLE), (61, 62 << 12 | TABLE)):
        ram.words[frame * 512] = entry
    ram.words[62 * 512] = (ram.size - 4096) | TABLE

    assert Roots(ram, X86()).find(notice((7 << 32 | 1, 0, 1))) == {0: root}


def test_only_so_many_roots_are_remembered(ram: GuestRam, made: HandMade) -> None:
    roots = Roots(ram, X86())
    for number in range(MOST_REMEMBERED + 5):
        made.space({0: 2000 + number})
        made.worker(2000 + number, 0, number + 1 << 32)
        roots.find(notice((number + 1 << 32, 0, number)))
    searched = roots.searches

    roots.find(notice((1 << 32, 0, 1)))

    assert searched == MOST_REMEMBERED + 5
    assert roots.searches == searched + 1


def test_a_look_counts_the_entries_of_every_address_space_once(ram: GuestRam, made: HandMade) -> None:
    made.space({0: 50})
    made.space({0: 50, 1: 51})
    made.worker(50, 0, 7 << 32 | 4)
    made.worker(51, 1, 8 << 32)
    observer = Observer(ram, X86())

    observer.look(notice((7 << 32 | 4, 0, 1), (8 << 32, 1, 2)))

    (look,) = observer.looks
    assert dict(look.mapcounts()) == {50: 2, 51: 1}
    assert (look.after, sorted(look.spaces), len(look.spaces[1].tables)) == (3, [0, 1], 4)


def test_what_was_read_while_the_processes_ran_on_is_not_kept(ram: GuestRam, made: HandMade) -> None:
    made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    observer = Observer(ram, X86())
    standing = notice((7 << 32 | 1, 0, 1))

    observer.look(replace(standing, stands=lambda: False))
    assert observer.looks == []
    observer.look(standing)
    assert len(observer.looks) == 1


def test_tables_that_make_no_sense_are_no_address_space(ram: GuestRam, made: HandMade) -> None:
    root = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    ram.words[root * 512 + 5] = 1 << 40 | TABLE
    observer = Observer(ram, X86())

    observer.look(notice((7 << 32 | 1, 0, 1)))

    assert observer.looks[0].spaces == {}


class FakeCounts:
    """Counts that read 7 for every frame."""

    name, holds, tells_free = "a fake", "references", True

    def read(self, _frame: int) -> FrameSeen:
        return FrameSeen(refcount=7)

    def move_to(self, ram: GuestRam) -> None:
        raise AssertionError(ram)


def test_pages_of_a_large_leaf_have_frames_of_their_own_and_counts_of_which_nothing_is_said(
    ram: GuestRam, made: HandMade
) -> None:
    root = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    ram.words[(root + 2) * 512 + 8] = 4 * 512 << 12 | 0xE7  # 2 MiB from page 4096 on
    ram.bytes[(4 * 512 + 3) << 12] = 0x11
    observer = Observer(ram, X86())
    observer.counts = FakeCounts()
    program = parse_program("p0: map a 2 rw private anon")

    observer.begin([4096, 4099, 4608])
    observer.look(notice((7 << 32 | 1, 0, 1)))
    (seen,) = observer.enrich(program, Trace(())).observations

    pages = seen.processes[0].pages
    assert [pages[vpn].frame for vpn in (4096, 4099, 4608)] == [2048, 2051, None]
    assert [pages[vpn].present for vpn in (4096, 4099, 4608)] == [True, True, False]
    assert pages[4099].content == ((0x11, 1), (0, 4095))
    assert (pages[4096].writable, pages[4096].dirty) == (True, True)
    assert seen.frames == {2048: FrameSeen(mapcount=1), 2051: FrameSeen(mapcount=1)}


def test_a_gibibyte_in_one_leaf_is_counted_without_counting_its_pages(ram: GuestRam, made: HandMade) -> None:
    root = made.space({0: 50})
    made.worker(50, 0, 7 << 32 | 1)
    ram.words[(root + 1) * 512 + 4] = 0x4000_0000 | 0xE7
    observer = Observer(ram, X86())

    observer.look(notice((7 << 32 | 1, 0, 1)))

    assert dict(observer.looks[0].mapcounts({0x40005, 50, 0x80000})) == {0x40005: 1, 50: 1}
