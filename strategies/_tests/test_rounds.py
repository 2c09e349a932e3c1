"""Any steps in rounds: what is repeated is well formed, and a round leaves nobody behind."""

from __future__ import annotations

from hypothesis import given

from harness.program.ops import Crowd, Repeat
from harness.program.program import Family, Program
from harness.program.text import format_program, parse_program
from strategies.programs import programs
from strategies.rounds import again, in_rounds


@given(program=in_rounds(programs(max_steps=12), 64))
def test_a_round_leaves_p0_alone(program: Program) -> None:
    family = Family()
    for op in program.steps:
        family.apply(op)

    assert family.live == {0}
    assert not family.zombies
    assert sum(isinstance(op, Repeat) for op in program.steps) <= 1
    assert not any(isinstance(op, Crowd) for op in program.steps)
    assert parse_program(format_program(program)) == program


def test_who_is_left_ends_and_is_waited_for_by_its_parent() -> None:
    program = parse_program("p0: fork p1\np1: fork p2\np1: store data[0] 0x11\np1: exit 3\np0: print data[0] 3")

    assert again(program, 64) == parse_program(
        "p0: repeat 64 7\np0: fork p1\np1: fork p2\np1: store data[0] 0x11\n"
        "p2: exit 0\np1: wait p2\np1: exit 0\np0: wait p1"
    )


def test_a_vfork_child_ends_before_its_parent_goes_on() -> None:
    program = parse_program("p0: vfork p1\np1: store data[0] 0x11\np1: exit 0\np0: load data[0]")

    assert again(program, 100) == parse_program(
        "p0: repeat 100 5\np0: vfork p1\np1: store data[0] 0x11\np1: exit 0\np0: load data[0]\np0: wait p1"
    )


def test_steps_of_which_none_can_be_repeated_leave_an_empty_program() -> None:
    assert again(parse_program("p0: print data[0] 3\np0: exit 0"), 64).steps == ()
