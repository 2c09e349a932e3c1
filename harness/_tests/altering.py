"""Traces of the sound toy kernel, with one thing altered by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.compare import compare
from harness.compare.verdict import Verdict
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.program import Program
from harness.program.text import parse_op, parse_program
from harness.program.trace import Frame, FrameSeen, Observation, PageSeen, ProcessSeen, Trace
from harness.subject import How

MODEL = PRESETS["model"]
NEW = 9999
"""A frame that the toy kernel never gave anybody in these programs."""

Alter = Callable[[Trace], Trace]


def page(text: str) -> tuple[int, int]:
    """Turn "p1 a[0]" into (process, virtual page number)."""
    op = parse_op(text.replace(" ", ": load "))
    return op.process, op.at.vpn  # type: ignore[attr-defined]


def sound(program: Program | str, how: How | None = None) -> Trace:
    """The trace that conforms."""
    steps = parse_program(program) if isinstance(program, str) else program
    return ModelGuest().execute(steps, how or How())


def verdict_of(text: str, alter: Alter, how: How | None = None) -> Verdict:
    """The verdict on the altered trace."""
    return compare(parse_program(text), alter(sound(text, how)), MODEL)


def frame_of(trace: Trace, where: str, at: int = -1) -> Frame:
    number, vpn = page(where)
    frame = trace.observations[at].processes[number].pages[vpn].frame
    assert frame is not None
    return frame


def with_observation(change: Callable[[Observation], Observation], at: int = -1) -> Alter:
    def alter(trace: Trace) -> Trace:
        seen = list(trace.observations)
        seen[at] = change(seen[at])
        return replace(trace, observations=tuple(seen))

    return alter


def with_process(number: int, change: Callable[[ProcessSeen], ProcessSeen], at: int = -1) -> Alter:
    return with_observation(
        lambda seen: replace(seen, processes={**seen.processes, number: change(seen.processes[number])}), at
    )


def with_page(where: str, change: Callable[[PageSeen], PageSeen], at: int = -1) -> Alter:
    number, vpn = page(where)
    return with_process(number, lambda seen: replace(seen, pages={**seen.pages, vpn: change(seen.pages[vpn])}), at)


def with_frame(where: str, change: Callable[[FrameSeen], FrameSeen], at: int = -1) -> Alter:
    """Alter what is said of the frame behind a page."""

    def alter(trace: Trace) -> Trace:
        frame = frame_of(trace, where, at)
        said = with_observation(lambda seen: replace(seen, frames={**seen.frames, frame: change(seen.frames[frame])}), at)
        return said(trace)

    return alter


def moved_to(where: str, other: str | Frame, at: int = -1) -> Alter:
    """Let a page show the frame of another page, or a frame of any number."""

    def alter(trace: Trace) -> Trace:
        frame = frame_of(trace, other, at) if isinstance(other, str) else other
        moved = with_page(where, lambda seen: replace(seen, present=True, frame=frame), at)(trace)
        known = moved.observations[at].frames.get(frame, FrameSeen())
        return with_observation(lambda seen: replace(seen, frames={**seen.frames, frame: known}), at)(moved)

    return alter


def with_outcome(step: int, outcome: object) -> Alter:
    def alter(trace: Trace) -> Trace:
        said = [*trace.outcomes]
        said[step] = outcome  # type: ignore[call-overload]
        return replace(trace, outcomes=tuple(said))

    return alter
