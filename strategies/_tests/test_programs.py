"""What `programs` draws: well formed, within its limits, and with something going on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis.errors import InvalidArgument

from harness.program.ops import (
    ENDING,
    OPS,
    Crash,
    Exec,
    Exit,
    Fork,
    Load,
    Map,
    Observe,
    Op,
    Protect,
    Store,
    Unmap,
    Wait,
)
from harness.program.program import Family, Program, places
from harness.program.text import format_program, parse_program
from harness.program.units import WINDOW_BY_NAME, PageRange, in_windows
from strategies._tests.drawing import draw_many, successes
from strategies.ops import ROW_OF
from strategies.programs import programs, reserve
from strategies.scene import ALL_WINDOWS

HARD: dict[str, dict[str, Any]] = {
    "fork, exit, store": {"containing": (Fork, Exit, Store)},
    "every operation": {"containing": OPS, "max_steps": reserve(OPS) + 10},
    "every operation, little room": {"containing": OPS, "max_steps": reserve(OPS), "max_processes": 2},
    "rare ones in few steps": {"containing": (Exec, Wait, Crash), "max_steps": 7, "max_processes": 2},
    "both endings": {"containing": (Crash, Exit), "min_steps": 6, "max_steps": 8},
    "weight zero": {"containing": (Wait, Exec), "weights": {Wait: 0, Exec: 0, Exit: 0, Fork: 0}},
    "all names used": {"containing": (Wait, Exit, Crash), "weights": {Fork: 500}, "max_processes": 16},
    "orphans": {"containing": (Wait,), "weights": {Fork: 60, Exit: 60}, "max_processes": 3},
    "alone": {"containing": (Exit, Map), "max_processes": 1, "weights": {Exit: 50}},
    "observed": {"containing": (Observe,), "max_steps": 2, "observe": False},
    "long": {"min_steps": 25, "max_steps": 25, "weights": {Exit: 40, Crash: 40}},
    "very long": {"min_steps": 40, "max_steps": 60},
    "one step": {"max_steps": 1},
    "one page": {"max_pages": 1, "weights": {Map: 60}},
    "few pages": {"max_pages": 5, "weights": {Map: 60}},
    "window c": {"windows": ("c",)},
    "image only": {"windows": ("data", "bss"), "weights": {Map: 20}},
    "only stores": {"weights": {op: int(op is Store) for op in OPS}},
}


@pytest.fixture(scope="module")
def default() -> list[Program]:
    return draw_many(programs(), 2000)


def most_alive(program: Program) -> int:
    family, most = Family(), 1
    for op in program.steps:
        family.apply(op)
        most = max(most, len(family.live))
    return most


def mapped_pages(program: Program) -> int:
    return len(
        {
            vpn
            for op in program.steps
            if isinstance(op, Map) and WINDOW_BY_NAME[op.pages.window].is_arena
            for vpn in in_windows(op.pages.vpn, op.pages.vpns.stop)
        }
    )


# That a program is well formed is checked by its constructor, and so by drawing one.


def test_every_program_comes_back_from_its_text(default: list[Program]) -> None:
    back = [parse_program(format_program(program)) for program in default]

    assert back == default


def test_programs_stay_within_the_default_limits(default: list[Program]) -> None:
    assert all(1 <= len(program) <= 30 for program in default)
    assert max(most_alive(program) for program in default) == 6
    assert max(mapped_pages(program) for program in default) == 16


def test_programs_are_long_and_have_several_processes(default: list[Program]) -> None:
    assert sum(len(program) for program in default) / len(default) >= 12
    assert sum(program.processes for program in default) / len(default) >= 2.5


def test_most_accesses_succeed_and_some_do_not(default: list[Program]) -> None:
    met = [success for program in default for success in successes(program)]

    assert 0.80 <= sum(met) / len(met) <= 0.97


def test_most_programs_begin_with_a_map_and_some_do_not(default: list[Program]) -> None:
    begun = sum(isinstance(program.steps[0], Map) for program in default) / len(default)

    assert 0.8 <= begun < 0.99


def test_every_operation_is_drawn(default: list[Program]) -> None:
    drawn = Counter(type(op) for program in default for op in program.steps)

    # One in 400 steps: of 44 operations some make sense only after another, as Unfix after Fix.
    assert all(drawn[op] / drawn.total() > 0.0025 for op in OPS if ROW_OF[op].weight)


def test_what_changes_memory_is_often_touched_right_before_and_right_after(default: list[Program]) -> None:
    triples = [
        triple for program in default for triple in zip(program.steps, program.steps[1:], program.steps[2:], strict=False)
    ]

    def is_echo(before: Op, op: Op, after: Op) -> bool:
        pages = {vpn for each in places(op) for vpn in (each.vpns if isinstance(each, PageRange) else [each.vpn])}
        touches = [each for each in (before, after) if isinstance(each, Load | Store) and each.process == op.process]
        return len(touches) == 2 and all(each.at.vpn in pages for each in touches)

    shaped = [triple for triple in triples if isinstance(triple[1], Protect | Unmap)]
    assert sum(is_echo(*triple) for triple in shaped) / len(shaped) >= 0.04


def test_observations_are_rare_and_never_side_by_side(default: list[Program]) -> None:
    steps = [op for program in default for op in program.steps]
    pairs = [pair for program in default for pair in zip(program.steps, program.steps[1:], strict=False)]

    assert 0.02 <= sum(isinstance(op, Observe) for op in steps) / len(steps) <= 0.1
    assert not any(isinstance(one, Observe) and isinstance(two, Observe) for one, two in pairs)


def test_every_window_is_touched_and_a_to_e_most(default: list[Program]) -> None:
    touched = Counter(name for program in default for name in program.windows)

    assert set(touched) == set(ALL_WINDOWS)
    assert sum(touched[name] for name in "abcde") > sum(touched[name] for name in ("data", "bss", "text"))


def test_processes_meet_on_the_same_pages(default: list[Program]) -> None:
    def met(program: Program) -> bool:
        writers = {(op.at.page, op.process) for op in program.steps if isinstance(op, Store)}
        return max(Counter(page for page, _ in writers).values(), default=0) >= 2

    assert sum(map(met, default)) / len(default) >= 0.2


def test_a_process_that_ends_leaves_others_that_go_on(default: list[Program]) -> None:
    def goes_on(program: Program) -> bool:
        ends = [k for k, op in enumerate(program.steps) if isinstance(op, Exit | Crash)]
        return bool(ends) and any(isinstance(op, Store | Load) for op in program.steps[ends[0] :])

    assert sum(map(goes_on, default)) / len(default) >= 0.2


def test_the_first_process_can_end_before_its_children(default: list[Program]) -> None:
    orphaned = [
        program
        for program in default
        for k, op in enumerate(program.steps)
        if isinstance(op, ENDING) and op.process == 0 and any(each.process for each in program.steps[k:])
    ]

    assert orphaned


@pytest.mark.parametrize("options", HARD.values(), ids=HARD)
def test_options_are_kept_by_every_program(options: dict[str, Any]) -> None:
    drawn = draw_many(programs(**options), 150)

    for program in drawn:
        assert options.get("min_steps", 1) <= len(program) <= options.get("max_steps", 30)
        assert most_alive(program) <= options.get("max_processes", 6)
        assert mapped_pages(program) <= options.get("max_pages", 16)
        assert {type(op) for op in program.steps} >= set(options.get("containing", ()))
        assert set(program.windows) <= set(options.get("windows", WINDOW_BY_NAME))


@pytest.mark.parametrize("op", OPS, ids=[op.verb for op in OPS])
def test_a_contained_operation_stands_in_many_places(op: type[Op]) -> None:
    drawn = draw_many(programs(containing=(op,), weights={op: 0}), 150)

    places = {[type(step) for step in program.steps].index(op) for program in drawn}

    assert len(places) >= (8 if op not in (Wait, Map) else 5)


def test_an_operation_of_weight_zero_is_not_drawn() -> None:
    drawn = draw_many(programs(weights={Map: 0, Unmap: 0, Protect: 0}, observe=False), 300)

    assert {Map, Unmap, Protect, Observe}.isdisjoint(type(op) for program in drawn for op in program.steps)


@pytest.mark.parametrize(
    "options",
    [
        {"min_steps": 5, "max_steps": 4},
        {"max_steps": 0},
        {"max_processes": 0},
        {"max_processes": 17},
        {"max_processes": 1, "containing": (Fork,)},
        {"max_processes": 1, "containing": (Exit, Crash)},
        {"max_pages": 0},
        {"windows": ()},
        {"windows": ("f",)},
        {"weights": {Store: -1}},
        {"weights": dict.fromkeys(OPS, 0)},
    ],
)
def test_limits_that_no_program_can_keep_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        programs(**options)
