"""Huge pages of the teaching kernel, seen from outside: where they come, how they are split, and what stays whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.errors import ToolMissing
from harness.guest.definition import load_definition
from harness.guest.session import Session
from harness.guests import MachineSubject
from harness.introspect.page_walk import Leaf
from harness.program.text import parse_program
from harness.program.trace import Ending
from harness.program.units import WINDOW_BY_NAME
from harness.subject import How

GUESTS = ("mini", "mini-arm64")
MAPPED = "p0: map w 1026 rw private anon\np0: store w[1] 0x11\n"
SHARED = MAPPED + "p0: fork p1\n"


@contextmanager
def opened(guest: str, *, append: str = "") -> Iterator[MachineSubject]:
    definition = load_definition(guest)
    try:
        subject = MachineSubject(Session(definition.with_append(append) if append else definition))
    except ToolMissing as missing:
        pytest.skip(str(missing))
    try:
        yield subject
    finally:
        subject.close()


@pytest.fixture(scope="module", params=GUESTS)
def subject(request: pytest.FixtureRequest) -> Iterator[MachineSubject]:
    with opened(request.param) as subject:
        yield subject


def leaves(subject: MachineSubject, program: str) -> list[dict[int, dict[int, Leaf]]]:
    """Give the leaves in windows w and v by index of page, w's first, of each process after each step."""
    trace = subject.execute(parse_program(program), How(dense=True, pte_bits=True))
    assert trace.ending is Ending.COMPLETE
    assert subject.observer is not None
    first = WINDOW_BY_NAME["w"].vpn
    return [
        {
            slot: {vpn - first: leaf for vpn, leaf in space.leaves.items() if 0 <= vpn - first < 4096}
            for slot, space in look.spaces.items()
        }
        for look in subject.observer.looks
    ]


def test_a_store_brings_in_a_block_and_a_load_a_page(subject: MachineSubject) -> None:
    seen = leaves(subject, MAPPED + "p0: load w[512]\np0: store w[767] 0x22\np0: store w[1024] 0x33")

    (block,) = seen[1][0].values()
    assert (block.level, block.writable, block.frame % 512) == (2, True, 0)
    assert {index: leaf.level for index, leaf in seen[-1][0].items()} == {0: 2, 512: 1, 767: 1, 1024: 1}


def test_a_block_that_a_mapping_has_a_part_of_comes_page_by_page(subject: MachineSubject) -> None:
    seen = leaves(subject, "p0: map w 511 rw private anon\np0: store w[1] 0x11")

    assert [leaf.level for leaf in seen[-1][0].values()] == [1]


def test_fork_shares_a_block_and_a_store_splits_it_for_who_stores(subject: MachineSubject) -> None:
    seen = leaves(subject, SHARED + "p1: store w[2] 0x22")

    after_fork, after_store = seen[2], seen[3]
    assert {slot: (of[0].level, of[0].writable) for slot, of in after_fork.items()} == {0: (2, False), 1: (2, False)}
    assert after_store[0] == after_fork[0]
    frame, pages = after_fork[0][0].frame, after_store[1]
    assert [index for index in range(512) if pages[index].frame != frame + index] == [2]
    assert [index for index in range(512) if pages[index].writable] == [2]


def test_who_is_left_alone_with_a_block_keeps_it_whole(subject: MachineSubject) -> None:
    seen = leaves(subject, SHARED + "p1: exit 0\np0: store w[1] 0x22")

    ((index, shared),), ((same, alone),) = seen[2][0].items(), seen[-1][0].items()
    assert (index, shared.level, shared.writable) == (0, 2, False)
    assert (same, alone.level, alone.writable, alone.frame) == (0, 2, True, shared.frame)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("unmap w[256..300]", 467),
        ("protect w[511] r", 512),
        ("advise w[0..1] dontneed", 510),
        ("unmap w[0..511]", 0),
        ("advise w[0..511] dontneed", 0),
        ("protect w[0..511] r", 1),
        ("advise w[0..511] free", 1),
    ],
)
def test_what_is_changed_in_part_is_split_and_what_is_changed_as_a_whole_is_not(
    subject: MachineSubject, change: str, left: int
) -> None:
    seen = leaves(subject, MAPPED + f"p0: {change}")

    assert len(seen[-1][0]) == left


def test_a_block_is_moved_whole_by_whole_blocks_alone(subject: MachineSubject) -> None:
    seen = leaves(subject, MAPPED + "p0: remap w[0..511] v[512..1023]\np0: remap v[512..1023] w[1..512]")

    (block,), whole, pages = seen[1][0].values(), seen[2][0], seen[3][0]
    assert {index: leaf.frame for index, leaf in whole.items()} == {2048 + 512: block.frame}
    assert {index: leaf.frame for index, leaf in pages.items()} == {1 + index: block.frame + index for index in range(512)}


@pytest.mark.parametrize("guest", GUESTS)
def test_quirks_switch_them_off_or_copy_them_whole(guest: str) -> None:
    with opened(guest, append="quirk=no-huge") as subject:
        assert [leaf.level for leaf in leaves(subject, MAPPED)[-1][0].values()] == [1]
    with opened(guest, append="quirk=huge-copies-whole") as subject:
        parents, childs = (of[0] for of in leaves(subject, SHARED + "p1: store w[2] 0x22")[-1].values())

        assert (parents.level, childs.level, childs.writable) == (2, 2, True)
        assert parents.frame != childs.frame
