"""A program with some of its steps left out: for kernels that cannot do them, and for finding the shortest that fails."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from harness.errors import ProgramError
from harness.program.ops import FORKS, OF_OTHERS, WAITS, Op, Repeat
from harness.program.program import Family, Program


def without(program: Program, left_out: Collection[int]) -> Program:
    """Leave out the steps with these numbers (from 0), and those that make no sense without them.

    The processes that are left are named in the order in which they come to be, and a repetition is of what is left of it.
    Raises ProgramError where what is left is no program.
    """
    return Program(tuple(_with_bodies(kept_without(program, left_out))), program.title)


def with_one_process_less(program: Program, fork: int) -> Program:
    """Leave out the fork that is step number `fork` (from 0), and have its process do what its child did.

    Raises ProgramError where what is left is no program.
    """
    return Program(tuple(_with_bodies(kept_without(program, (), born_to_none=fork))), program.title)


def kept_without(program: Program, left_out: Collection[int], *, born_to_none: int = -1) -> list[tuple[int, Op]]:
    """Give the steps that `without` keeps, each with the number that it had; a repetition still says how long it was.

    The steps of the child of fork number `born_to_none` become its parent's, and what the two did with each other goes.
    """
    family, names = Family(), {0: 0}
    kept: list[tuple[int, Op]] = []
    for number, op in enumerate(program.steps):
        renamed: dict[str, Any] = {"process": names.get(op.process)}
        if isinstance(op, FORKS):
            renamed["child"] = len(set(names.values()))
            if number == born_to_none and op.process in names:
                names[op.child] = names[op.process]
                continue
        elif isinstance(op, WAITS):
            renamed["child"] = names.get(op.child)
        elif isinstance(op, OF_OTHERS):
            renamed["victim"] = names.get(op.victim)
        if number in left_out or None in renamed.values() or len(set(renamed.values())) < len(renamed):
            continue
        step = replace(op, **renamed)
        with suppress(ProgramError):
            family.apply(step)
            kept.append((number, step))
            if isinstance(op, FORKS):
                names[op.child] = renamed["child"]
    return kept


def _with_bodies(kept: list[tuple[int, Op]]) -> list[Op]:
    """Give each repetition what is left of its steps; one of which nothing is left goes."""
    steps: list[Op] = []
    for number, op in kept:
        if isinstance(op, Repeat):
            body = sum(number < each <= number + op.body for each, _ in kept)
            steps += [replace(op, body=body)] if body else []
        else:
            steps.append(op)
    return steps


def shorten(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Leave out steps, many at a time at first, and processes, as long as the program `fails`; in the end it needs every
    one it has.

    `fails` is asked about programs that are well formed, and `program` itself is known to fail.
    """
    size = max(1, len(program) // 2)
    while size:
        shorter = _pass(program, size, fails)
        if size == 1:
            shorter = _with_fewer_processes(shorter, fails)
        if size > 1:
            size //= 2
        elif len(shorter) == len(program):
            size = 0
        program = shorter
    return program


def _with_fewer_processes(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Try to do without each child, the youngest first."""
    for number in reversed(range(len(program))):
        if number < len(program) and isinstance(program.steps[number], FORKS):
            with suppress(ProgramError):
                fewer = with_one_process_less(program, number)
                if fails(fewer):
                    program = fewer
    return program


def _pass(program: Program, size: int, fails: Callable[[Program], bool]) -> Program:
    """Try to leave out `size` steps at each place, from the end to the beginning."""
    end = len(program)
    while end > 0:
        start = max(0, end - size)
        with suppress(ProgramError):
            shorter = without(program, range(start, end))
            if len(shorter) < len(program) and fails(shorter):
                program = shorter
        end = min(start, len(program))
    return program
