"""Mappings that are put together: whatever the way, all of it is at the end as if it had been mapped at once."""

from __future__ import annotations

from itertools import product

import pytest

from harness.model.adopt import expected_vmas
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.step import step
from harness.program.files import MAX_FILE_PAGES
from harness.program.ops import Advise, Backing, Map, Op, Placement, Populate, Protect, Sharing
from harness.program.program import Program
from harness.program.units import PageRange, Prot
from strategies._tests.drawing import draw_many
from strategies.around import around
from strategies.making import MAKINGS, MOST_MADE, Making, Way, backing_from, made, may_be_made

RW = Prot.R | Prot.W
KINDS = ((Sharing.PRIVATE, Backing.ANON), (Sharing.PRIVATE, Backing("f", 1)), (Sharing.SHARED, Backing("m")))
PROTS = (RW, Prot.R, Prot.NONE)


def _whole(npages: int, kind: tuple[Sharing, Backing], prot: Prot) -> Map:
    return Map(0, PageRange("a", 2, npages), prot, *kind)


def _mapped(steps: list[Op]) -> object:
    machine = Machine(PRESETS["linux-6.1"])
    for op in Program(tuple(steps)).steps:
        step(machine, op)
    return expected_vmas(machine, 0)


@pytest.mark.parametrize("making", MAKINGS, ids=str)
def test_what_was_put_together_is_mapped_as_what_was_mapped_at_once(making: Making) -> None:
    for npages, kind, prot in product((2, 3, 4, 6), KINDS, PROTS):
        op = _whole(npages, kind, prot)

        assert _mapped([*made(op, making)]) == _mapped([op])


@pytest.mark.parametrize("making", MAKINGS, ids=str)
def test_a_making_takes_more_than_one_step_and_no_more_than_it_may(making: Making) -> None:
    lengths = {len([*made(_whole(npages, KINDS[0], RW), making)]) for npages in range(2, 9)}

    assert 2 <= min(lengths) <= max(lengths) <= MOST_MADE


def test_what_lies_beside_a_mapping_goes_on_with_its_file_as_far_as_a_mapping_may_begin_there() -> None:
    of_file = Map(0, PageRange("a", 2, 3), RW, Sharing.PRIVATE, Backing("f", 1))

    assert [backing_from(of_file, first).pgoff for first in (0, 1, 3, 5, 30)] == [0, 0, 2, 4, MAX_FILE_PAGES]
    assert backing_from(_whole(3, KINDS[0], RW), 5) == Backing.ANON


def test_every_way_is_drawn() -> None:
    assert {making.way for making in MAKINGS} == set(Way)


def test_one_page_and_what_is_asked_for_in_a_special_way_are_mapped_at_once() -> None:
    op = _whole(2, KINDS[0], RW)
    whole = Map(0, PageRange("a", 0, 1), RW), Map(0, PageRange("a", 0, 2, 5), RW)
    asked = Map(0, op.pages, RW, placement=Placement.HINT), Map(0, op.pages, RW, populate=Populate.YES)

    assert may_be_made(op)
    assert not any(map(may_be_made, (*whole, *asked)))


def test_stories_begin_with_mappings_that_were_put_together() -> None:
    drawn = draw_many(around("p0: map a 3 rw private anon\np0: advise a[1] dontfork"), 400)

    in_pieces = [program for program in drawn if [type(op) for op in program.steps[:2]] == [Map, Map]]
    protected = [program for program in drawn if [type(op) for op in program.steps[:3]] == [Map, Protect, Protect]]
    assert len(in_pieces) > 10
    assert len(protected) > 5
    assert all(any(isinstance(op, Advise) for op in program.steps) for program in in_pieces[:5])
