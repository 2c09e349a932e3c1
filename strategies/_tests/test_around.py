"""Stories with anything at all between their steps: mostly told in full, always in order, and shrunk to what it takes."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, find, settings

from harness.errors import ProgramError
from harness.program.ops import (
    Advise,
    Exit,
    Force,
    Fork,
    Map,
    Observe,
    Op,
    Protect,
    Receive,
    Remap,
    Store,
    Unmap,
    Wait,
)  # fmt: skip
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME, Address, PageRange
from harness.program.without import shorten
from strategies._tests.drawing import draw_many
from strategies.around import KINDS, NOISE, PLACES, STRETCHES, around
from strategies.stretch import stretched

COPY = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: fork p1
p1: store a[0] 0x22
p0: load a[0]
"""
FAMILY = """
p0: map a 4 rw private anon
p0: fill a[3] 0x11
p0: fork p1
p1: fork p2
observe
p1: exit 3
p0: wait p1
p2: exec
p2: load data[1]
p2: crash store a[1]
p0: protect a[0..1] r
p0: unmap a[2]
"""
STORIES = {"copy": COPY, "family": FAMILY, "nothing": "", "a lone load": "p0: load a[0]"}
WIDE = tuple(kind for kind in KINDS if isinstance(kind, Address) and WINDOW_BY_NAME[kind.window].watched)
QUIET = settings(max_examples=20_000, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def _same(told: Op, step: Op, names: dict[int, int], place: Address) -> bool:
    """Whether `told` is `step` of the story, with these names and at this place."""
    if type(told) is not type(step) or isinstance(step, Observe):
        return type(told) is type(step)
    if isinstance(step, Fork):
        return told.process == names.get(step.process)
    retold = _retold(step, names, place)
    if isinstance(told, Map) and isinstance(retold, Map) and set(retold.pages.vpns) < set(told.pages.vpns):
        return told == replace(retold, pages=told.pages)  # a larger mapping, of which this is left
    if isinstance(told, Map) and isinstance(retold, Map):
        return told == replace(retold, sharing=told.sharing, backing=told.backing)  # memory of another kind
    return told == retold


def _retold(step: Op, names: dict[int, int], place: Address) -> Op:
    values = {each.name: getattr(step, each.name) for each in fields(step)} | {"process": names.get(step.process, -1)}
    if isinstance(step, Wait):
        values["child"] = names.get(step.child, -1)
    for name, value in values.items():
        if isinstance(value, Address | PageRange) and value.window == "a":
            values[name] = _moved(value, place)
    return type(step)(**values)


def _moved(place: Address | PageRange, to: Address) -> Address | PageRange:
    there = [index for index in WINDOW_BY_NAME[to.window].indexes if index >= to.index]
    if isinstance(place, PageRange):
        first, last = there[place.first], there[place.first + place.npages - 1]
        return replace(place, window=to.window, first=first, npages=last + 1 - first)
    return Address(to.window, there[place.index], place.offset)


def tells(program: Program, story: Program) -> bool:
    """Whether the steps of the story are in the program, in order, renamed and moved in one way."""
    places = (*PLACES, *WIDE)
    return any(_tells(program.steps, story.steps, {0: teller}, place) for teller in (0, 1) for place in places)


def _tells(steps: tuple[Op, ...], story: tuple[Op, ...], names: dict[int, int], place: Address) -> bool:
    if not story:
        return True
    for number, told in enumerate(steps):
        if not _same(told, story[0], names, place):
            continue
        more = dict(names)
        if isinstance(story[0], Fork) and isinstance(told, Fork):
            more[story[0].child] = told.child
        if _tells(steps[number + 1 :], story[1:], more, place):
            return True
    return False


@pytest.mark.parametrize(("name", "least"), [("copy", 0.3), ("family", 0.12), ("nothing", 1.0), ("a lone load", 0.5)])
def test_many_programs_tell_the_whole_story_in_order(name: str, least: float) -> None:
    story = parse_program(STORIES[name])
    drawn = draw_many(around(STORIES[name]), 200)

    assert sum(tells(program, story) for program in drawn) >= least * len(drawn)


def test_now_and_then_a_child_tells_the_story() -> None:
    story = parse_program(COPY)
    drawn = draw_many(around(COPY), 200)

    by_child = [program for program in drawn if any(_tells(program.steps, story.steps, {0: 1}, place) for place in PLACES)]

    assert len(drawn) // 20 <= len(by_child) <= len(drawn) // 2


@pytest.mark.parametrize("name", STORIES)
def test_programs_are_well_formed_and_within_their_bounds(name: str) -> None:
    for program in draw_many(around(STORIES[name], max_steps=20, max_processes=4), 150, number=2):
        assert Program(program.steps) == program
        assert len(program) <= 20
        assert program.processes <= 16


def test_what_a_story_maps_of_a_wide_window_comes_whole() -> None:
    drawn = draw_many(around("p0: map w 1026 rw private anon\np0: store w[256] 0x11\n"), 150)

    maps = [op for program in drawn for op in program.steps if isinstance(op, Map) and op.pages.window == "w"]
    assert sum(op.pages.npages == WINDOW_BY_NAME["w"].npages for op in maps) > len(drawn) // 2


def test_a_story_longer_than_the_bound_is_told_without_noise() -> None:
    story = parse_program(COPY)
    drawn = draw_many(around(COPY, max_steps=2), 60)

    assert max(map(len, drawn)) == len(story)
    told = [program for program in drawn if len(program) == len(story)]
    assert all(any(tells(program, stretched(story, times)) for times in STRETCHES) for program in told)


def test_the_places_of_a_story_vary() -> None:
    drawn = draw_many(around(COPY), 200)
    windows = {op.pages.window for program in drawn for op in program.steps[:2] if isinstance(op, Map)}

    assert windows >= {place.window for place in PLACES}


def test_all_kinds_of_noise_are_heard() -> None:
    drawn = draw_many(around(COPY), 600)

    heard = {type(op) for program in drawn for op in program.steps}
    assert heard >= set(NOISE) - {Exit, Wait}  # these two need a process that is not of the story, and so are rare
    assert any(len(program) > len(parse_program(COPY)) + 3 for program in drawn)


def test_several_stories_take_turns() -> None:
    drawn = draw_many(around(COPY, "p0: fork p1\np1: exit 9"), 100)

    assert {Map, Fork} <= {type(op) for program in drawn for op in program.steps[:1]}


def test_noise_does_not_spoil_the_pages_of_a_story_nor_ends_its_processes() -> None:
    story = parse_program(COPY)
    whole = [program for program in draw_many(around(COPY, twists=False), 200, number=3) if tells(program, story)]

    assert len(whole) > 50
    for program in whole:
        (first, *rest) = program.steps
        assert isinstance(first, Map)
        pages = {(first.pages.window, first.pages.first + i) for i in range(first.pages.npages)}
        stores = [op for op in rest if isinstance(op, Store) and (op.at.window, op.at.index) in pages]
        assert [op.value for op in stores] == [0x11, 0x22]
        assert not [op for op in rest if isinstance(op, Exit) and op.process in (0, stores[1].process)]


def test_a_twist_happens_to_the_pages_of_a_story_that_is_told_all_the_same() -> None:
    story = parse_program(COPY)
    drawn = [program for program in draw_many(around(COPY), 600, number=4) if tells(program, story)]

    twists = {type(op) for program in drawn for op in program.steps[1:]} & {Protect, Remap, Advise, Unmap, Receive, Force}
    assert len(twists) >= 4


@pytest.mark.parametrize("name", ["copy", "family", "a lone load"])
def test_what_takes_the_whole_story_shrinks_to_the_bare_story(name: str) -> None:
    story = parse_program(STORIES[name])

    shrunk = find(around(STORIES[name]), lambda program: tells(program, story), settings=QUIET, random=random.Random(1))

    assert shrunk == story


def test_what_takes_a_part_of_the_story_shrinks_to_that_part() -> None:
    def waits(program: Program) -> bool:
        return any(isinstance(op, Wait) for op in program.steps)

    shrunk = shorten(find(around(FAMILY), waits, settings=QUIET, random=random.Random(1)), waits)

    assert [type(op) for op in shrunk.steps] == [Fork, Exit, Wait]


def test_a_text_that_is_no_program_is_refused_at_once() -> None:
    with pytest.raises(ProgramError, match="there is no operation"):
        around("p0: lod a[0]")


def test_a_story_is_told_of_what_is_left_of_larger_mappings_too() -> None:
    story = "p0: map a 2 rw shared anon\np0: store a[0] 0x11\np0: fork p1\np1: store a[0] 0x22"
    cut: set[type[Op]] = set()
    for program in draw_many(around(story), 200):
        for whole, then in pairwise(program.steps):
            if isinstance(whole, Map) and whole.pages.npages == 3 and isinstance(then, Unmap | Protect):
                cut |= {type(then)} if then.pages.first == whole.pages.first else set()

    assert cut == {Unmap, Protect}


def test_what_a_story_maps_is_of_every_kind_of_memory_now_and_then() -> None:
    drawn = draw_many(around(COPY), 4000, number=5)
    kinds = {(op.sharing, op.backing.name) for program in drawn for op in program.steps[:2] if isinstance(op, Map)}
    of_image = {op.at.window for program in drawn for op in program.steps if isinstance(op, Store) and op.value == 0x11}

    assert {(kind[0], kind[1].name) for kind in KINDS if isinstance(kind, tuple)} <= kinds
    assert {kind.window for kind in KINDS if isinstance(kind, Address)} <= of_image


@pytest.mark.parametrize("how", ["noreplace", "hint", "fixed populate"])
def test_a_story_asks_for_no_more_of_a_segment_than_to_be_attached(how: str) -> None:
    drawn = draw_many(around(f"p0: map a 2 rw private anon {how}\np0: map b 1 rw private anon\np0: store a[0] 0x11"), 400)

    kinds = {op.backing.name for program in drawn for op in program.steps if isinstance(op, Map)}
    assert {"shm", "f", "m"} <= kinds
