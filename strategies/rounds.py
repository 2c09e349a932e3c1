"""The strategy `in_rounds`: any steps, done again and again, after which nothing of a round may be left.

A leak of one frame in a round is nothing among the frames of a kernel, and plain among those of a hundred rounds. Which
steps leak nobody knows beforehand (an error path, a mapping that was cut in two, a fork that failed), so the steps are
those of any program. What cannot be done twice is left out, and at the end of a round its processes end and are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from hypothesis import strategies as st

from harness.errors import ProgramError
from harness.program.ops import Crowd, Exit, Op, Repeat, Starve, Wait, ended_by
from harness.program.program import REPEATABLE, Family, Program

MOST_STEPS = 12
"""Each is done in every round, and a short round leaves less to look at where it leaks."""


_SLOW = (Crowd, Starve)
"""What takes many times as long as other steps: written rounds have it (`contracts/test_conservation.py`)."""


def in_rounds(programs: st.SearchStrategy[Program], rounds: int) -> st.SearchStrategy[Program]:
    """Let programs do what those of `programs` do `rounds` times over."""
    return programs.map(lambda program: again(program, rounds))


def again(program: Program, rounds: int) -> Program:
    """Make a program that does the steps of `program` in rounds, as far as they can be repeated."""
    family = Family()
    body = [*_repeatable(program, family), *_settling(family)]
    return Program((Repeat(0, rounds, len(body)), *body) if body else ())


def _repeatable(program: Program, family: Family) -> Iterator[Op]:
    """Give the steps that leave the family so that all of it can end, in an order in which each is waited for."""
    for op in program.steps:
        if not isinstance(op, REPEATABLE) or isinstance(op, _SLOW) or _leaves_orphans(family, ended_by(op)):
            continue
        try:
            deepcopy(family).apply(op)
        except ProgramError:  # it stands on a step that was left out
            continue
        family.apply(op)
        yield op


def _leaves_orphans(family: Family, ended: int | None) -> bool:
    if ended is None:
        return False
    children = [child for child, parent in family.parent.items() if parent == ended]
    return ended == 0 or bool({*family.live, *family.zombies} & {*children})


def _settling(family: Family) -> Iterator[Op]:
    """End all processes but p0, the youngest first, and let each be waited for."""
    for child in sorted(family.parent, reverse=True):
        parent = family.parent[child]
        if parent is None:
            continue
        last: tuple[Op, ...] = (Exit(child, 0), Wait(parent, child))
        for op in last[child not in family.live :] if child not in family.waited else ():
            family.apply(op)
            yield op
