from __future__ import annotations

from harness.coverage.reached import Reached
from harness.coverage.recorder import Recorder
from harness.coverage.situation import SITUATIONS, Action, Memory, Role, Situation, State
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.step import step
from harness.program.program import Program
from harness.program.text import parse_program
from harness.report.coverage import coverage_html, coverage_lines, never_reached


def reached(text: str) -> set[Situation]:
    machine, recorder = Machine(PRESETS["linux-6.1"]), Recorder()
    for op in parse_program(text).steps:
        recorder.before(machine, op)
        step(machine, op)
    return recorder.situations


def test_every_situation_has_a_text_that_reads_back() -> None:
    assert [Situation.parse(str(each)) for each in SITUATIONS] == list(SITUATIONS)
    assert len(set(SITUATIONS)) == len(SITUATIONS)


def test_the_states_of_a_page_follow_its_sharers() -> None:
    program = """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: store a[0] 0x12
        p0: fork p1
        p1: fork p2
        p2: store a[0] 0x33
        p0: store a[0] 0x22
        p1: store a[0] 0x44
    """

    stores = {
        (each.state, each.role) for each in reached(program) if each.memory is Memory.ANON and each.action is Action.STORE
    }

    assert stores == {
        (State.FRESH, Role.PARENT),
        (State.RESIDENT, Role.PARENT),
        (State.SHARED_3, Role.GRANDCHILD),
        (State.SHARED_2, Role.PARENT),
        (State.FORMERLY_SHARED, Role.CHILD),
    }


def test_a_page_that_lost_its_right_to_be_written_is_protected_away() -> None:
    program = """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] r
        p0: store a[0] 0x12
    """

    assert Situation(Memory.ANON, State.PROTECTED, Action.STORE, Role.PARENT) in reached(program)


def test_the_zero_page_is_a_kind_of_memory_of_its_own() -> None:
    found = reached("p0: map a 1 rw private anon\np0: load a[0]\np0: fork p1\np1: load a[0]\np1: exit 0")

    assert Situation(Memory.ZERO, State.RESIDENT, Action.FORK, Role.PARENT) in found
    assert Situation(Memory.DATA, State.FRESH, Action.EXIT, Role.CHILD) in found


def test_the_table_counts_what_was_reached_and_fits_a_terminal() -> None:
    counts = dict.fromkeys(reached("p0: map a 1 rw private anon\np0: store a[0] 1"), 7)

    lines = coverage_lines(counts)

    assert lines[0].startswith(f"coverage: {len(counts)} of {len(SITUATIONS)} situations")
    assert max(map(len, lines)) <= 100
    assert len(never_reached(counts)) == len(SITUATIONS) - len(counts)


def test_the_page_shows_a_program_for_a_cell_that_was_reached() -> None:
    program = Program(parse_program("p0: map a 1 rw private anon\np0: store a[0] 1").steps)
    situation = Situation(Memory.ANON, State.FRESH, Action.STORE, Role.PARENT)

    found = Reached()
    for _ in range(3):
        found.add([situation], program)

    page = coverage_html(found, programs=3)

    assert "parent 3" in page
    assert "p0: store a[0] 0x01" in page


def test_what_workers_reached_is_put_together_with_the_shorter_program() -> None:
    situation = Situation(Memory.ANON, State.FRESH, Action.STORE, Role.PARENT)
    short = parse_program("p0: map a 1 rw private anon\np0: store a[0] 1")
    long = parse_program("p0: map a 1 rw private anon\np0: load a[0]\np0: store a[0] 1")
    one, other = Reached(), Reached()
    one.add([situation], long)
    other.add([situation], short)

    one.merge(Reached.from_json(other.to_json()))

    assert (one.counts[situation], one.examples[situation]) == (2, short)
