"""Properties of the comparison: frames up to renaming, nothing compared that was not seen, and no false alarm."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness._tests.altering import MODEL, sound
from harness.compare import compare
from harness.program.program import Program
from harness.program.trace import Frame, FrameSeen, Observation, PageSeen, ProcessSeen, Trace
from harness.subject import How
from strategies._tests.drawing import draw_many
from strategies.programs import programs

HOWS = [How(), How(dense=True), How(count_faults=True), How(accounting=True), How(True, True, True)]


@cache
def drawn() -> list[Program]:
    return draw_many(programs(), 300, number=20)


def pages_mapped(trace: Trace, change: Callable[[PageSeen], PageSeen]) -> Trace:
    return each_process(trace, lambda seen: replace(seen, pages={vpn: change(page) for vpn, page in seen.pages.items()}))


def each_process(trace: Trace, change: Callable[[ProcessSeen], ProcessSeen]) -> Trace:
    return each_observation(
        trace, lambda seen: replace(seen, processes={n: change(process) for n, process in seen.processes.items()})
    )


def each_observation(trace: Trace, change: Callable[[Observation], Observation]) -> Trace:
    return replace(trace, observations=tuple(change(seen) for seen in trace.observations))


def each_frame(trace: Trace, change: Callable[[FrameSeen], FrameSeen]) -> Trace:
    return each_observation(trace, lambda seen: replace(seen, frames={pfn: change(it) for pfn, it in seen.frames.items()}))


def frames_of(trace: Trace) -> list[Frame]:
    return sorted({pfn for seen in trace.observations for pfn in seen.frames})


def renamed(trace: Trace, names: dict[Frame, Frame]) -> Trace:
    moved = pages_mapped(trace, lambda page: replace(page, frame=None if page.frame is None else names[page.frame]))
    moved = each_observation(moved, lambda seen: replace(seen, frames={names[pfn]: it for pfn, it in seen.frames.items()}))
    return replace(moved, leftover={})


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(program=programs(), number=st.integers(0, 1 << 32), dense=st.booleans())
def test_any_renaming_of_the_frames_conforms(program: Program, number: int, dense: bool) -> None:
    trace = sound(program, How(dense=dense))
    old = frames_of(trace)
    new = random.Random(number).sample(range(1, 1 << 40), len(old))

    assert compare(program, renamed(trace, dict(zip(old, new, strict=True))), MODEL).conforms


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(program=programs(), number=st.integers(0, 1 << 32))
def test_any_permutation_of_the_frames_conforms(program: Program, number: int) -> None:
    trace = sound(program, How(dense=True))
    old = frames_of(trace)
    new = list(old)
    random.Random(number).shuffle(new)

    assert compare(program, renamed(trace, dict(zip(old, new, strict=True))), MODEL).conforms


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_sound_kernel_conforms_on_three_hundred_random_programs(how: How) -> None:
    for program in drawn()[:: 6 if how.dense else 1]:
        verdict = compare(program, sound(program, how), MODEL)

        assert verdict.conforms, (program, verdict.divergences)


STRIPPED: dict[str, Callable[[Trace], Trace]] = {
    "no presence": lambda trace: pages_mapped(trace, lambda page: replace(page, present=None, frame=None)),
    "presence without frames": lambda trace: pages_mapped(trace, lambda page: replace(page, frame=None)),
    "no bytes": lambda trace: pages_mapped(trace, lambda page: replace(page, content=None)),
    "no VMAs": lambda trace: each_process(trace, lambda seen: replace(seen, vmas=None)),
    "no mapcounts": lambda trace: each_frame(trace, lambda seen: replace(seen, mapcount=None)),
    "no refcounts": lambda trace: each_frame(trace, lambda seen: replace(seen, refcount=None)),
    "nothing of pages": lambda trace: each_process(trace, lambda seen: ProcessSeen({}, None)),
    "no observations": lambda trace: replace(trace, observations=()),
    "nothing at the end": lambda trace: replace(trace, leftover=None, before=None, after=None, unreaped=None),
    "no faults": lambda trace: replace(trace, faults=None),
}


@pytest.mark.parametrize("what", STRIPPED)
def test_what_a_guest_does_not_show_is_not_held_against_it(what: str) -> None:
    for program in drawn()[:60]:
        trace = STRIPPED[what](sound(program, HOWS[-1] if len(program) < 12 else How(count_faults=True)))

        assert compare(program, trace, MODEL).conforms, program


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(program=programs(max_steps=15), hidden=st.sets(st.integers(0, 60)))
def test_any_observation_may_be_left_out(program: Program, hidden: set[int]) -> None:
    trace = sound(program, How(dense=True))
    kept = tuple(seen for number, seen in enumerate(trace.observations) if number not in hidden)

    assert compare(program, replace(trace, observations=kept), MODEL).conforms


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(program=programs(max_steps=15), number=st.integers(0, 1 << 32))
def test_a_wrong_byte_anywhere_is_found(program: Program, number: int) -> None:
    choose = random.Random(number)
    trace = sound(program)
    if not trace.observations:
        return
    last = trace.observations[-1]
    shown = [(n, vpn) for n, seen in last.processes.items() for vpn, page in seen.pages.items() if page.content]
    if not shown:
        return
    process, vpn = choose.choice(shown)
    page = last.processes[process].pages[vpn]
    assert page.content is not None
    (value, length), *rest = page.content
    wrong = replace(page, content=((value ^ 0x40, 1), (value, length - 1), *rest))
    processes = {
        **last.processes,
        process: replace(last.processes[process], pages={**last.processes[process].pages, vpn: wrong}),
    }
    altered = replace(trace, observations=(*trace.observations[:-1], replace(last, processes=processes)))

    verdict = compare(program, altered, MODEL)

    if verdict.conforms:  # where the man-pages end, nobody looks any more
        assert verdict.reach["unspecified"]
        return
    assert verdict.first().step == len(program) - 1
