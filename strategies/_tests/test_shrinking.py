"""Whatever property a program has, it shrinks to the fewest steps that show it, or one more, and to small values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, find, settings

from harness.program.ops import (
    Crash,
    Exec,
    Exit,
    Fill,
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
from harness.program.program import Family, Program
from harness.program.text import format_program
from harness.program.units import Prot
from harness.program.without import shorten
from strategies.echo import VALUE
from strategies.programs import programs

Predicate = Callable[[Program], bool]
SEEDS = (1, 2)
QUIET = settings(max_examples=50_000, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def in_order(*tests: Callable[..., bool]) -> Predicate:
    """Whether some steps pass the tests in this order; a test gets its step and those before it."""

    def search(steps: tuple[Op, ...], chosen: tuple[Op, ...]) -> bool:
        if len(chosen) == len(tests):
            return True
        test = tests[len(chosen)]
        return any(test(step, *chosen) and search(steps[k + 1 :], (*chosen, step)) for k, step in enumerate(steps))

    return lambda program: search(program.steps, ())


def parents(program: Program) -> dict[int, int | None]:
    family = Family()
    for op in program.steps:
        family.apply(op)
    return family.parent


def a_grandchild_stores(program: Program) -> bool:
    parent = parents(program)
    return any(isinstance(op, Store) and parent[op.process] for op in program.steps)


def two_siblings_store_on_one_page(program: Program) -> bool:
    parent = parents(program)
    stores = [op for op in program.steps if isinstance(op, Store) and op.process]
    return any(
        one.at.page == two.at.page and one.process != two.process and parent[one.process] == parent[two.process]
        for one in stores
        for two in stores
    )


def four_processes_write(program: Program) -> bool:
    return len({op.process for op in program.steps if isinstance(op, Store | Fill)}) >= 4


def inside(inner: Unmap, outer: Map) -> bool:
    last = inner.pages.first + inner.pages.npages
    same = inner.process == outer.process and inner.pages.window == outer.pages.window
    return same and outer.pages.first < inner.pages.first and last < outer.pages.first + outer.pages.npages


def is_a(kind: type[Op]) -> Callable[..., bool]:
    return lambda op, *_: isinstance(op, kind)


def by_child(kind: type[Op]) -> Callable[..., bool]:
    return lambda op, *_: isinstance(op, kind) and op.process != 0


@dataclass(frozen=True)
class Case:
    """A property, and the fewest steps of a program that has it."""

    predicate: Predicate
    least: int


CASES = {
    "the child stores on a page that the parent stored before": Case(
        in_order(
            is_a(Store),
            lambda op, first: isinstance(op, Fork) and op.process == first.process,
            lambda op, first, fork: isinstance(op, Store) and op.process == fork.child and op.at.page == first.at.page,
        ),
        3,
    ),
    "the child exits and then the parent stores on a page that was shared": Case(
        in_order(
            is_a(Store),
            lambda op, first: isinstance(op, Fork) and op.process == first.process,
            lambda op, _, fork: isinstance(op, Exit) and op.process == fork.child,
            lambda op, first, *_: isinstance(op, Store) and op.process == first.process and op.at.page == first.at.page,
        ),
        4,
    ),
    "exec by a child": Case(in_order(by_child(Exec)), 2),
    "unmap in the middle of a mapping": Case(
        in_order(is_a(Map), lambda op, first: isinstance(op, Unmap) and inside(op, first)), 2
    ),
    "a grandchild stores": Case(a_grandchild_stores, 3),
    "two siblings store on one page": Case(two_siblings_store_on_one_page, 4),
    "a child that crashed is waited for": Case(
        in_order(by_child(Crash), lambda op, first: isinstance(op, Wait) and op.child == first.process),
        3,
    ),
    "a child makes a page writable that was protected before fork": Case(
        in_order(
            lambda op: isinstance(op, Protect) and Prot.W not in op.prot,
            lambda op, first: isinstance(op, Fork) and op.process == first.process,
            lambda op, first, fork: (
                isinstance(op, Protect)
                and op.process == fork.child
                and not set(op.pages.vpns).isdisjoint(first.pages.vpns)
                and Prot.W in op.prot
            ),
        ),
        3,
    ),
    "p0 exits and a child goes on": Case(in_order(lambda op: isinstance(op, Exit) and op.process == 0, is_a(Load)), 3),
    "exec, a store, and exec again": Case(
        in_order(
            is_a(Exec),
            lambda op, first: isinstance(op, Store) and op.process == first.process,
            lambda op, first, _: isinstance(op, Exec) and op.process == first.process,
        ),
        3,
    ),
    "a map replaces a map": Case(
        in_order(
            is_a(Map),
            lambda op, first: isinstance(op, Map) and (op.process, op.pages) == (first.process, first.pages),
        ),
        2,
    ),
    "four processes write": Case(four_processes_write, 7),
    "a map across the line between two page tables": Case(
        in_order(
            lambda op: (
                isinstance(op, Map) and op.pages.window == "c" and op.pages.first < 8 < op.pages.first + op.pages.npages
            )
        ),
        1,
    ),
    "a store between two observations": Case(in_order(is_a(Observe), is_a(Store), is_a(Observe)), 3),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_property_shrinks_to_its_fewest_steps_or_one_more(case: Case, seed: int) -> None:
    found = find(programs(), case.predicate, settings=QUIET, random=random.Random(seed))
    shrunk = shorten(found, case.predicate)  # as the plugin does

    assert case.least <= len(shrunk) <= case.least + 1, format_program(shrunk)


def test_values_shrink_to_the_first_page_and_small_numbers() -> None:
    predicate = in_order(is_a(Map), is_a(Fork), by_child(Store), by_child(Exit))

    shrunk = shorten(find(programs(), predicate, settings=QUIET, random=random.Random(1)), predicate)

    steps = format_program(shrunk).splitlines()[1:]
    assert [steps[0], steps[1], steps[3]] == ["p0: map a 1 rw private anon", "p0: fork p1", "p1: exit 0"]
    assert steps[2] in ("p1: store a[0] 0x01", f"p1: store a[0] 0x{VALUE:02x}")  # what is left of an echo keeps its byte


def test_what_must_be_contained_shrinks_to_once_each() -> None:
    strategy = programs(containing=(Fork, Exit, Store))

    shrunk = find(strategy, lambda program: len(program) > 0, settings=QUIET, random=random.Random(1))

    assert len(shrunk) == 3
