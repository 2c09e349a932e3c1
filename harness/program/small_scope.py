"""All small programs: every program of so many steps, pages and processes, up to symmetry.

Random programs meet what is likely; most bugs of memory management already show in a program of four steps, and of
those one can run all. The operations are the basic ones, on single pages of window a:

    map rw, unmap, protect r, protect rw, load, store, fork, exec, exit, wait

*Symmetry*: pages and processes are named in the order of their first use, and each store writes a value that no
other store of the program writes; so of all programs that differ by names alone there is one. What no kernel could
tell from a shorter program is left out too: nothing is done by nobody. Whether an access is allowed is not asked: a
load of a page that was never mapped is a program like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.program.ops import Exec, Exit, Fork, Load, Map, Op, Protect, Store, Unmap, Wait
from harness.program.program import Family, Program
from harness.program.units import Address, PageRange, Prot

_RW = Prot.R | Prot.W


@dataclass(frozen=True, slots=True)
class Scope:
    """How small: steps (exactly), and at most so many pages of window a, and processes in a program's life."""

    steps: int
    pages: int
    processes: int


def all_programs(scope: Scope) -> Iterator[Program]:
    """Give every program of the scope, in an order that never changes."""
    for steps in _continuations((), 0, scope):
        yield Program(steps)


def count_programs(scope: Scope) -> int:
    """Count them, without making any."""
    return sum(1 for _ in _continuations((), 0, scope))


def _continuations(steps: tuple[Op, ...], used: int, scope: Scope) -> Iterator[tuple[Op, ...]]:
    """Give all that a program of the scope can be that begins with `steps`, which use `used` pages."""
    if len(steps) == scope.steps:
        yield steps
        return
    family = Family()
    for op in steps:
        family.apply(op)
    for process in sorted(family.active):
        for page in range(min(used + 1, scope.pages)):
            for op in _on_a_page(process, page, len(steps)):
                yield from _continuations((*steps, op), max(used, page + 1), scope)
        for op in _of_a_process(family, process, scope):
            yield from _continuations((*steps, op), used, scope)


def _on_a_page(process: int, page: int, number: int) -> Iterator[Op]:
    at, pages = Address("a", page), PageRange("a", page, 1)
    yield Map(process, pages, _RW)
    yield Unmap(process, pages)
    yield Protect(process, pages, Prot.R)
    yield Protect(process, pages, _RW)
    yield Load(process, at)
    yield Store(process, at, 0x11 * (number + 1) & 0xFF or 1)


def _of_a_process(family: Family, process: int, scope: Scope) -> Iterator[Op]:
    if len(family.parent) < scope.processes:
        yield Fork(process, len(family.parent))
    yield Exec(process)
    yield Exit(process, 0)
    for child in family.waitable(process):
        yield Wait(process, child)
