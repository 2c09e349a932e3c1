"""What each operation means, one small program at a time."""

from __future__ import annotations

import inspect

import pytest

from harness.model import step as step_module
from harness.model.adopt import Presence, expected_pages, expected_vmas
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.process import State
from harness.model.step import MEANING, step
from harness.program.image import image_page
from harness.program.ops import OPS, Exit, Load, Wait
from harness.program.outcome import (
    Code,
    Done,
    Exited,
    Failed,
    Faulted,
    Gone,
    Killed,
    Loaded,
    Outcome,
    Printed,
    Signal,
)
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME, Address, Prot


def run(text: str) -> tuple[Machine, list[Outcome | None]]:
    """Run a program on the model; give the machine, and the one outcome of each step."""
    machine = Machine(PRESETS["linux-6.1"])
    outcomes = [step(machine, op).only for op in parse_program(text).steps]
    return machine, outcomes


def last(text: str) -> Outcome | None:
    """Give the outcome of the last step."""
    return run(text)[1][-1]


def vpn(window: str, index: int = 0) -> int:
    return WINDOW_BY_NAME[window].vpn + index


def segv(code: Code, window: str, index: int, offset: int = 0) -> Faulted:
    return Faulted(Signal.SIGSEGV, code, Address(window, index, offset))


# ------------------------------------------------------------------------------ the table


def test_every_operation_has_a_meaning() -> None:
    assert set(MEANING) == set(OPS)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.verb)
def test_every_operation_has_the_three_blocks_in_order(op: type) -> None:
    source = inspect.getsource(inspect.getmodule(MEANING[op]) or step_module)

    blocks = [source.find(f"    # {name}\n") for name in ("CHECKS", "EFFECT", "OUTCOME")]

    assert -1 not in blocks
    assert blocks == sorted(blocks)


@pytest.mark.parametrize("op", [op for op in OPS if op.verb != "observe"], ids=lambda op: op.verb)
def test_every_operation_cites_its_source(op: type) -> None:
    assert "Source:" in (MEANING[op].__doc__ or "")


def test_a_step_of_a_dead_process_is_refused() -> None:
    machine, _ = run("p0: fork p1\np1: exit 0")

    with pytest.raises(ValueError, match="p1 does not live"):
        step(machine, Load(1, Address("data", 0)))


# ------------------------------------------------------------------------------ the start


def test_a_process_starts_with_the_image_and_no_page_present() -> None:
    machine, _ = run("observe")

    pages = expected_pages(machine, 0)

    assert [(vma.start, vma.npages, vma.prot) for vma in expected_vmas(machine, 0)] == [
        (vpn("text"), 2, Prot.R | Prot.X),
        (vpn("data"), 4, Prot.R | Prot.W),
        (vpn("bss"), 4, Prot.R | Prot.W),
    ]
    assert {page.presence for page in pages.values()} == {Presence.FORBIDDEN}
    assert pages[vpn("data", 2)].content == image_page("data", 2)
    assert pages[vpn("bss", 2)].content == bytes(4096)


def test_the_arena_is_empty_at_the_start() -> None:
    assert last("p0: load a[3]+9") == segv(Code.MAPERR, "a", 3, 9)


# ------------------------------------------------------------------------------ map, unmap, protect


def test_map_gives_zeroes() -> None:
    assert last("p0: map a 4 rw private anon\np0: load a[3]+4095") == Loaded(0)


def test_map_replaces_what_the_range_held() -> None:
    machine, outcomes = run(
        "p0: map a 4 rw private anon\np0: fill a[1] 7\np0: fill a[2] 8\n"
        "p0: map a[1] r private anon\np0: load a[1]\np0: load a[2]\np0: store a[1] 1"
    )

    assert outcomes[-3:] == [Loaded(0), Loaded(8), segv(Code.ACCERR, "a", 1)]
    assert [vma.npages for vma in expected_vmas(machine, 0)][-3:] == [1, 1, 2]


def test_map_over_the_image_replaces_it() -> None:
    assert last("p0: map data[1] rw private anon\np0: load data[1]") == Loaded(0)


def test_unmap_removes_exactly_its_range() -> None:
    _, outcomes = run(
        "p0: map a 4 rw private anon\np0: fill a[0] 5\np0: unmap a[1..2]\np0: load a[0]\np0: load a[1]\np0: load a[3]"
    )

    assert outcomes[-3:] == [Loaded(5), segv(Code.MAPERR, "a", 1), Loaded(0)]


def test_unmap_of_a_hole_is_no_error() -> None:
    assert last("p0: unmap a[0..15]") == Done()


def test_splitting_a_file_mapping_keeps_the_bytes_of_the_upper_half() -> None:
    _, outcomes = run("p0: unmap data[1]\np0: load data[2]\np0: load data[3]+512")

    assert outcomes[-2:] == [Loaded(image_page("data", 2)[0]), Loaded(image_page("data", 3)[512])]


def test_neighbours_that_could_be_one_vma_are_shown_as_one() -> None:
    machine, _ = run(
        "p0: map a[0..15] rw private anon\np0: map b 4 rw private anon\np0: protect a[3] r\np0: protect a[3] rw"
    )

    assert [(vma.start, vma.npages) for vma in expected_vmas(machine, 0)][-1] == (vpn("a"), 20)


@pytest.mark.parametrize(
    ("prot", "load", "store"),
    [
        ("none", segv(Code.ACCERR, "a", 0), segv(Code.ACCERR, "a", 0)),
        ("r", Loaded(9), segv(Code.ACCERR, "a", 0)),
        ("w", Loaded(9), Done()),
        ("x", Loaded(9), segv(Code.ACCERR, "a", 0)),
        ("rw", Loaded(9), Done()),
    ],
)
def test_access_depends_on_the_last_protection(prot: str, load: Outcome, store: Outcome) -> None:
    start = f"p0: map a 1 rw private anon\np0: store a[0] 9\np0: protect a[0] {prot}\n"

    assert last(start + "p0: load a[0]") == load
    assert last(start + "p0: store a[0] 1") == store


def test_bytes_survive_a_time_without_access() -> None:
    assert last("p0: store bss[0] 3\np0: protect bss[0] none\np0: protect bss[0] r\np0: load bss[0]") == Loaded(3)


def test_protect_over_a_hole_changes_what_lies_before_it_and_fails() -> None:
    _, outcomes = run(
        "p0: map a 4 rw private anon\np0: unmap a[2]\np0: protect a[0..3] r\np0: store a[1] 1\np0: store a[3] 1"
    )

    assert outcomes[-3:] == [Failed("ENOMEM"), segv(Code.ACCERR, "a", 1), Done()]


def test_protect_that_starts_in_a_hole_changes_nothing() -> None:
    _, outcomes = run("p0: map a 2 rw private anon\np0: unmap a[0]\np0: protect a[0..1] r\np0: store a[1] 1")

    assert outcomes[-2:] == [Failed("ENOMEM"), Done()]


def test_protect_across_several_vmas_is_fine() -> None:
    assert last("p0: protect data[0..3] r\np0: protect data[1] rw\np0: protect data[0..3] rw") == Done()


# ------------------------------------------------------------------------------ memory


def test_a_fill_of_a_forbidden_page_faults_at_its_first_byte() -> None:
    _, outcomes = run("p0: fill text[1] 0\np0: load text[1]")

    assert outcomes == [segv(Code.ACCERR, "text", 1), Loaded(image_page("text", 1)[0])]


def test_a_store_changes_one_byte_only() -> None:
    _, outcomes = run(
        "p0: fill bss[1] 7\np0: store bss[1]+100 8\np0: load bss[1]+99\np0: load bss[1]+100\np0: load bss[1]+101"
    )

    assert outcomes[-3:] == [Loaded(7), Loaded(8), Loaded(7)]


def test_print_appends_to_the_output() -> None:
    machine, outcomes = run("p0: fill bss[0] 65\np0: print bss[0] 3\np0: print data[1]+511 2")

    assert outcomes[-2:] == [Printed(3), Printed(2)]
    assert machine.processes[0].output == b"AAA\x88\x89"


@pytest.mark.parametrize("prepare", ["p0: unmap bss[0]", "p0: protect bss[0] none"])
def test_print_of_unreadable_memory_is_efault(prepare: str) -> None:
    machine, outcomes = run(f"{prepare}\np0: print bss[0] 8")

    assert outcomes[-1] == Failed("EFAULT")
    assert machine.processes[0].output == b""


def test_a_child_starts_without_output() -> None:
    machine, _ = run("p0: print bss[0] 2\np0: fork p1\np1: print bss[0] 1")

    assert [machine.processes[n].output for n in (0, 1)] == [b"\0\0", b"\0"]


@pytest.mark.parametrize(
    ("step_text", "faults"),
    [
        ("p0: load bss[0]", 1),
        ("p0: store bss[0] 1", 1),
        ("p0: fill data[0] 1", 1),
        ("p0: print text[0] 1", 1),
        ("p0: load bss[0]\np0: store bss[0] 1", 1),
        ("p0: load bss[0]\np0: load bss[0]", 0),
        ("p0: store bss[0] 1\np0: store bss[0] 1", 0),
        ("p0: store bss[0] 1\np0: fork p1\np1: load bss[0]", 0),
        ("p0: store bss[0] 1\np0: fork p1\np1: store bss[0] 1", 1),
        ("p0: store bss[0] 1\np0: fork p1\np1: exit 0\np0: store bss[0] 1\np0: store bss[0] 1", 0),
        ("p0: load a[0]", 0),
    ],
)
def test_the_last_step_takes_this_many_faults(step_text: str, faults: int) -> None:
    machine, _ = run(step_text)

    assert machine.last_faults_range == (faults, faults)


# ------------------------------------------------------------------------------ processes


def test_exec_gives_the_image_again() -> None:
    machine, outcomes = run(
        "p0: map a 1 rw private anon\np0: fill data[0] 1\np0: fill bss[0] 1\n"
        "p0: unmap text[0]\np0: exec\n"
        "p0: load a[0]\np0: load data[0]\np0: load bss[0]\np0: load text[0]"
    )

    assert outcomes[-4:] == [
        segv(Code.MAPERR, "a", 0),
        Loaded(image_page("data", 0)[0]),
        Loaded(0),
        Loaded(image_page("text", 0)[0]),
    ]
    assert len(expected_vmas(machine, 0)) == 3


def test_exec_keeps_children_and_output() -> None:
    machine, outcomes = run("p0: print bss[0] 1\np0: fork p1\np0: exec\np1: exit 3\np0: wait p1")

    assert outcomes[-1] == Exited(3)
    assert machine.processes[0].output == b"\0"


def test_exit_is_told_by_wait() -> None:
    _, outcomes = run("p0: fork p1\np1: exit 255\np0: wait p1")

    assert outcomes[-2:] == [Gone(), Exited(255)]


@pytest.mark.parametrize(
    ("place", "signal"),
    [("a[0]", Signal.SIGSEGV), ("text[0]", Signal.SIGSEGV), ("data[0]", Signal.SIGKILL)],
)
def test_a_crash_is_told_by_wait(place: str, signal: Signal) -> None:
    assert last(f"p0: fork p1\np1: crash store {place}\np0: wait p1") == Killed(signal)


def test_a_zombie_holds_nothing_but_its_status() -> None:
    machine, _ = run("p0: fork p1\np1: store bss[0] 1\np1: exit 0")

    assert machine.processes[1].state is State.ZOMBIE
    assert machine.processes[1].space is None


def test_init_reaps_the_orphans() -> None:
    machine, _ = run("p0: fork p1\np1: fork p2\np1: fork p3\np2: exit 0\np1: exit 0\np3: exit 0")

    assert [machine.processes[n].state for n in (1, 2, 3)] == [State.ZOMBIE, State.REAPED, State.REAPED]


def test_a_second_wait_finds_no_child() -> None:
    machine, _ = run("p0: fork p1\np1: exit 0\np0: wait p1")

    assert step(machine, Wait(0, 1)).only == Failed("ECHILD")


def test_a_wait_for_a_live_child_would_block() -> None:
    machine, _ = run("p0: fork p1")

    with pytest.raises(ValueError, match="p1 lives still"):
        step(machine, Wait(0, 1))


def test_after_the_last_exit_only_the_page_cache_and_the_zero_page_are_in_use() -> None:
    machine, _ = run(
        "p0: map e 2 rw private anon\np0: store e[1] 1\np0: load data[0]\n"
        "p0: store data[1] 1\np0: fork p1\n"
        "p1: fill e[1] 2\np1: crash load a[0]\np0: exec\np0: store bss[0] 1"
    )

    step(machine, Exit(0, 0))

    assert machine.pool.in_use == {machine.zero, *machine.cache.frames.values()}
    assert sorted(machine.cache.frames) == [("data", 0), ("data", 1)]


def test_a_zombie_can_be_killed_and_keeps_its_status() -> None:
    _, outcomes = run("p0: fork p1\np1: exit 7\np0: kill p1\np0: wait p1\np0: kill p1")

    assert outcomes[2:] == [Done(), Exited(7), Failed("ESRCH")]
