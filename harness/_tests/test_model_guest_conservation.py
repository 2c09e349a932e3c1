"""Over random programs the sound kernel's counters are right at every step, and nothing is lost."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from harness.model_guest import FAULTS, ModelGuest
from harness.model_guest.kernel import Kernel
from harness.model_guest.machine import Machine
from harness.model_guest.paging import COW, TOP, USER, WRITABLE, pfn_of
from harness.program.ops import (
    Access,
    Crash,
    Exec,
    Exit,
    Fill,
    Fork,
    Handle,
    Load,
    Map,
    Op,
    Print,
    Protect,
    Store,
    Unmap,
    Wait,
)
from harness.program.program import Family, Program
from harness.program.trace import Ending
from harness.program.units import WINDOWS, Address, PageRange, Prot
from harness.subject import How

PROTS = (Prot.R | Prot.W, Prot.R | Prot.W, Prot.R, Prot.NONE, Prot.W, Prot.R | Prot.X)


def random_program(seed: int, steps: int = 25) -> Program:
    source = random.Random(seed)
    family = Family()
    ops: list[Op] = []
    while len(ops) < steps and family.live:
        op = _random_op(source, family)
        family.apply(op)
        ops.append(op)
    return Program(tuple(ops))


def _random_op(source: random.Random, family: Family) -> Op:
    process = source.choice(sorted(family.live))
    window = source.choice(WINDOWS)
    at = Address(window.name, source.choice(window.indexes[:4]))
    pages = PageRange(window.name, at.index, source.randint(1, max(1, min(window.npages, 6) - at.index)))
    prot = source.choice(PROTS)
    choices: list[tuple[int, Op]] = [
        (4, Map(process, pages, prot)),
        (2, Unmap(process, pages)),
        (3, Protect(process, pages, prot)),
        (3, Load(process, at)),
        (8, Store(process, at, source.randrange(256))),
        (1, Fill(process, at, source.randrange(256))),
        (1, Print(process, at, 3)),
        (1, Exec(process)),
    ]
    if len(family.parent) < 16:
        choices.append((5, Fork(process, len(family.parent))))
    if len(family.live) > 1:
        choices.append((2, Exit(process, 3)))
        choices.append((1, Crash(process, source.choice(list(Access)), at)))
        choices.append((1, Handle(process, at.page)))
    choices += [(3, Wait(process, child)) for child in family.waitable(process)]
    weights = [weight for weight, _ in choices]
    return source.choices([op for _, op in choices], weights)[0]


def leaf_entries(machine: Machine, table: int, level: int = TOP) -> list[int]:
    below = [entry for _, entry in machine.tables.entries(table)]
    if level == 0:
        return below
    return [leaf for entry in below for leaf in leaf_entries(machine, pfn_of(entry), level - 1)]


def table_frames(machine: Machine, table: int, level: int = TOP) -> list[int]:
    if level == 0:
        return [table]
    below = [pfn_of(entry) for _, entry in machine.tables.entries(table)]
    return [table] + [pfn for child in below for pfn in table_frames(machine, child, level - 1)]


def check_all_counts(kernel: Kernel) -> None:
    """Count every hold anew, by walking, and compare with what the kernel has counted."""
    machine = kernel.machine
    roots = [kernel.processes[name].space.root for name in kernel.live]
    tables = [pfn for root in roots if root is not None for pfn in table_frames(machine, root)]
    leaves = [entry for root in roots if root is not None for entry in leaf_entries(machine, root)]
    mapped = Counter(map(pfn_of, leaves))
    mapped.pop(machine.zero_pfn, None)
    holders = mapped + Counter(tables) + Counter(file_frames(machine)) + Counter([0, machine.zero_pfn])
    for pfn in range(len(machine.frames._frames)):
        frame = machine.frames[pfn]
        assert (pfn, frame.refcount, frame.mapcount) == (
            pfn,
            holders[pfn] * (not frame.free),
            mapped[pfn],
        )
        assert frame.free == (holders[pfn] == 0)
    assert len(set(tables)) == len(tables) == machine.tables.count
    assert machine.frames.total - machine.frames.free_count == len(holders)
    for entry in leaves:
        alone = holders[pfn_of(entry)] == 1 and machine.frames[pfn_of(entry)].anonymous
        assert not entry & WRITABLE or (alone and entry & USER and not entry & COW)


def file_frames(machine: Machine) -> list[int]:
    return [pfn for page in range(1, 7) if (pfn := machine.images["own"].lookup(page)) is not None]


@pytest.mark.parametrize("seed", range(60))
def test_every_count_is_what_a_walk_of_all_tables_finds(seed: int) -> None:
    kernel = Kernel(1 << 14, frozenset())
    kernel.start()

    for op in random_program(seed).steps:
        kernel.perform(op)
        check_all_counts(kernel)

    kernel.end_all()
    check_all_counts(kernel)


def test_random_programs_on_one_kernel_leave_nothing_behind() -> None:
    guest = ModelGuest()
    start = guest.execute(Program(()), How(accounting=True)).before

    traces = [guest.execute(random_program(seed), How(accounting=True)) for seed in range(300)]

    assert {trace.ending for trace in traces} == {Ending.COMPLETE}
    assert all(trace.after == start and trace.leftover == {} for trace in traces)


def test_observing_after_every_step_changes_no_outcome() -> None:
    programs = [random_program(seed) for seed in range(100)]

    sparse = [ModelGuest().execute(program, How(count_faults=True)) for program in programs]
    dense = [ModelGuest().execute(program, How(count_faults=True, dense=True)) for program in programs]

    assert [trace.outcomes for trace in dense] == [trace.outcomes for trace in sparse]
    assert [trace.outputs for trace in dense] == [trace.outputs for trace in sparse]


def test_a_program_runs_the_same_on_a_used_kernel_as_on_a_fresh_one() -> None:
    used = ModelGuest()
    programs = [random_program(seed) for seed in range(100)]

    on_used = [used.execute(program, How(count_faults=True)) for program in programs]
    on_fresh = [ModelGuest().execute(program, How(count_faults=True)) for program in programs]

    assert [(t.outcomes, t.outputs, t.faults) for t in on_used] == [(t.outcomes, t.outputs, t.faults) for t in on_fresh]


def test_memory_that_runs_out_kills_or_refuses_and_loses_nothing() -> None:
    guests = [ModelGuest(total_frames=total) for total in range(12, 60)]

    traces = [guest.execute(random_program(seed, 40), How(accounting=True)) for guest in guests for seed in range(12)]

    assert {trace.ending for trace in traces} == {Ending.COMPLETE, Ending.LOST, Ending.FORK_FAILED}
    assert all(trace.after == trace.before for trace in traces)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_lets_an_exception_out_of_a_random_program(fault: str) -> None:
    guest = ModelGuest([fault])

    for seed in range(20):
        trace = guest.execute(random_program(seed), How(accounting=True, count_faults=True, dense=True))
        if trace.ending in (Ending.PANICKED, Ending.DIED):
            guest.restore()

    assert guest.faults == {fault}
