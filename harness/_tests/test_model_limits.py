"""Limits in the model: what counts against RLIMIT_AS, what a refused call leaves, and what a failed fork leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.semantics import Semantics
from harness.model.step import step
from harness.program.outcome import Done, Failed, Outcome
from harness.program.text import parse_program

LINUX = PRESETS["linux-6.1"]
NEWEST = PRESETS["linux-6.17"]


def last(text: str, semantics: Semantics = LINUX) -> tuple[Machine, tuple[Outcome, ...]]:
    machine = Machine(semantics)
    outcomes: tuple[Outcome, ...] = ()
    for op in parse_program(text).steps:
        outcomes = step(machine, op).outcomes
    return machine, outcomes


@pytest.mark.parametrize(
    ("left", "call", "fits"),
    [
        (2, "map b 2 rw private anon", True),
        (1, "map b 2 rw private anon", False),
        (0, "map a 2 r private f", True),  # what is replaced does not count twice
        (0, "map a[1..2] rw private anon", False),
        (1, "remap a[0..1] a[0..2]", True),
        (0, "remap a[0..1] a[0..2]", False),
        (0, "remap a[0..1] b[0..1]", True),
        (0, "protect a[0..1] r", True),
        (1, "brk heap[1]", True),
        (1, "brk heap[1]+1", False),
        (3, "scratch 3", True),
        (2, "scratch 3", False),
    ],
)
def test_what_is_mapped_counts_to_the_page(left: int, call: str, *, fits: bool) -> None:
    _, outcomes = last(f"p0: map a 2 rw private anon\np0: limit {left}\np0: {call}")

    assert outcomes == ((Done(),) if fits else (Failed("ENOMEM"),))


def test_a_refused_mapping_leaves_what_was_there() -> None:
    machine, outcomes = last("p0: map a 2 rw private anon\np0: store a[0] 0x11\np0: limit 0\np0: map a 3 rw private anon")

    assert outcomes == (Failed("ENOMEM"),)
    assert machine.process(0).memory.page_table.lookup(parse_program("p0: load a[0]").steps[0].at.vpn)  # type: ignore[attr-defined]


def test_a_refused_mapping_may_leave_what_was_there_in_pieces() -> None:
    text = "p0: map a 3 rw private anon\np0: limit 0\np0: map a[1..3] rw private anon\n"
    one, either = (Done(),), (Done(), Failed("EFAULT"))

    assert last(f"{text}p0: remap a[0..1] b[0..1]")[1] == one
    assert last(f"{text}p0: remap a[0..1] b[0..1]", PRESETS["linux-6.12"])[1] == either
    assert last(f"{text}p0: remap a[1..2] b[0..1]", PRESETS["linux-6.12"])[1] == one
    assert last(f"{text}p0: remap a[0..1] b[0..1]", NEWEST)[1] == one  # it moves many


def test_what_a_move_replaces_makes_room_only_where_it_goes_first() -> None:
    text = "p0: map a 1 rw private anon\np0: map b 2 rw private anon\np0: limit 0\np0: remap a[0] b[0..1]"

    assert last(text)[1] == (Done(),)
    assert last(text, NEWEST)[1] == (Failed("ENOMEM"),)


def test_a_limit_goes_to_children_and_not_through_an_exec() -> None:
    limited = "p0: limit 0\np0: fork p1\n"

    assert last(limited + "p1: scratch 1")[1] == (Failed("ENOMEM"),)
    assert last(limited + "p1: exec\np1: scratch 1")[1] == (Done(),)


def test_who_works_in_the_memory_of_another_has_a_limit_of_his_own() -> None:
    shared = "p0: limit 0\np0: clone p1\np1: limit 1\n"

    assert last(shared + "p1: scratch 1")[1] == (Done(),)
    assert last(shared + "p0: scratch 1")[1] == (Failed("ENOMEM"),)


@pytest.mark.parametrize(
    ("call", "fits"),
    [
        ("remap a[0..1] c[0..1]", True),
        ("remap a[0..1] c[0]", True),
        ("roam a[0..1] c[0]", True),
        ("remap a[0..1] c[0..2]", False),
        ("map a 2 rw private anon", False),
    ],
)
def test_who_is_beyond_the_limit_already_may_move_what_there_is(call: str, *, fits: bool) -> None:
    shared = "p0: map a 2 rw private anon\np0: clone p1\np1: limit 0\np0: map b 2 rw private anon\n"

    assert last(f"{shared}p1: {call}")[1] == ((Done(),) if fits else (Failed("ENOMEM"),))


def test_a_stack_does_not_grow_beyond_the_limit() -> None:
    stack = "p0: map a[5] rw private stack\np0: limit 2\n"

    assert last(stack + "p0: store a[3] 0x11")[1] == (Done(),)
    assert last(stack + "p0: store a[2] 0x11")[1] != (Done(),)


def test_a_refused_fork_leaves_open_whether_the_next_store_takes_a_fault() -> None:
    machine, outcomes = last("p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: refuse\n")
    step(machine, parse_program("p0: store a[0] 0x22").steps[0])

    assert outcomes == (Failed("EAGAIN"),)
    assert machine.last_faults_range == (0, 1)


def test_a_fork_that_is_refused_holds_nothing() -> None:
    before, _ = last("p0: map a 1 rw private anon\np0: store a[0] 0x11")
    after, _ = last("p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: refuse", replace(LINUX))

    assert len(after.pool.in_use) == len(before.pool.in_use)
