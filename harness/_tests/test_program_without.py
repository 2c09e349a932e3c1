"""Programs with steps left out, and the shortest that still fails."""

from __future__ import annotations

from harness.program.ops import Exit, Store
from harness.program.program import Program
from harness.program.text import format_op, parse_program
from harness.program.without import shorten, with_one_process_less, without


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


def test_a_parent_may_do_what_its_child_did_and_what_the_two_did_with_each_other_goes() -> None:
    program = parse_program(
        "p0: fork p1\np1: fork p2\np2: store bss[0] 0x11\np1: kill p2\np1: wait p2\n"
        "p1: exit 3\np0: wait p1\np0: load bss[0]"
    )

    assert lines(with_one_process_less(program, 0)) == [
        "p0: fork p1", "p1: store bss[0] 0x11", "p0: kill p1", "p0: wait p1", "p0: exit 3",
    ]  # fmt: skip
    assert lines(with_one_process_less(program, 1)) == [
        "p0: fork p1", "p1: store bss[0] 0x11", "p1: exit 3", "p0: wait p1", "p0: load bss[0]",
    ]  # fmt: skip


def test_processes_that_are_not_needed_go() -> None:
    program = parse_program("p0: fork p1\np1: fork p2\np2: fork p3\np1: fork p4\np4: kill p3\np2: wait p3")

    def fails(candidate: Program) -> bool:
        return any(format_op(op).split()[1] == "wait" for op in candidate.steps)

    assert lines(shorten(program, fails)) == ["p0: fork p1", "p0: kill p1", "p0: wait p1"]
