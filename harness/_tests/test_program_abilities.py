"""What is left of a program on a kernel that cannot do all of it."""

from __future__ import annotations

import pytest

from harness.program.abilities import PROBES, needs, within
from harness.program.text import format_op, parse_program


def left(text: str, *lacking: str) -> list[str]:
    return [format_op(op) for op in within(parse_program(text), frozenset(lacking)).steps]


def test_a_program_that_lacks_nothing_stays_itself() -> None:
    program = parse_program("p0: map a 2 rw private anon\np0: fork p1")

    assert within(program, frozenset({"remap"})) is program


def test_steps_that_need_what_is_missing_are_left_out() -> None:
    text = "p0: map a 2 rw private anon\np0: remap a[0] b[0]\np0: store a[1] 1"

    assert left(text, "remap") == ["p0: map a 2 rw private anon", "p0: store a[1] 0x01"]


def test_a_process_that_could_not_be_made_does_nothing_and_leaves_no_gap() -> None:
    text = "p0: vfork p1\np1: store data[0] 1\np1: exit 0\np0: wait p1\np0: fork p2\np2: fork p3\np3: exit 4\np2: wait p3"

    assert left(text, "vfork") == ["p0: fork p1", "p1: fork p2", "p2: exit 4", "p1: wait p2"]


@pytest.mark.parametrize(("word", "text"), PROBES.items())
def test_a_probe_needs_what_it_is_for_in_its_last_step_alone(word: str, text: str) -> None:
    *before, last = parse_program(text).steps

    assert word in needs(last)
    assert not any(needs(op) & PROBES.keys() for op in before)
