"""Programs with steps left out, and the shortest that still fails."""

from __future__ import annotations

from harness.program.ops import Exit, Store
from harness.program.program import Program
from harness.program.text import format_op, parse_program
from harness.program.without import shorten, without


def lines(program: Program) -> list[str]:
    return [format_op(op) for op in program.steps]


def test_what_makes_no_sense_without_a_step_goes_with_it_and_processes_are_named_anew() -> None:
    program = parse_program("p0: fork p1\np0: fork p2\np1: exit 3\np0: wait p1\np2: store bss[0] 0x11\np0: kill p2")

    assert lines(without(program, {0})) == ["p0: fork p1", "p1: store bss[0] 0x11", "p0: kill p1"]


def test_a_repetition_is_of_what_is_left_of_it() -> None:
    program = parse_program("p0: repeat 5 3\np0: load bss[0]\np0: load bss[1]\np0: load bss[2]\np0: load bss[3]")

    assert lines(without(program, {2})) == ["p0: repeat 5 2", "p0: load bss[0]", "p0: load bss[2]", "p0: load bss[3]"]
    assert lines(without(program, {1, 2, 3})) == ["p0: load bss[3]"]


def test_what_is_left_needs_every_step_it_has() -> None:
    noise = "p0: load data[0]\np0: map a 3 rw private anon\n"
    program = parse_program(f"{noise}p0: fork p1\n{noise}p0: fork p2\np2: store a[0] 0x11\n{noise}p2: exit 0\n{noise}")

    def fails(candidate: Program) -> bool:
        stores = {op.process for op in candidate.steps if isinstance(op, Store)}
        return any(isinstance(op, Exit) and op.process in stores and op.process > 0 for op in candidate.steps)

    assert lines(shorten(program, fails)) == ["p0: fork p1", "p1: store a[0] 0x11", "p1: exit 0"]
