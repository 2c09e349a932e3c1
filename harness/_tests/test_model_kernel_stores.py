"""Stores by the kernel, forced ones, and pins: what the model says of them, one small program at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.compare import compare
from harness.model.adopt import adopt_pins, certain_frames
from harness.model.counts import held, pins
from harness.model.frame import Frame
from harness.model.invariants import broken
from harness.model.machine import Machine
from harness.model.presets import LINUX_6_1, PRESETS
from harness.model.process import State
from harness.model.semantics import Semantics, SoleOwner
from harness.model.step import step
from harness.model.syscalls.pin import PIPE_SLOTS
from harness.model_guest import ModelGuest
from harness.program.outcome import Done, Failed, Killed, Loaded, Outcome, Received, Signal
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME
from harness.subject import How

EFAULT = Failed("EFAULT")
EITHER = replace(LINUX_6_1, pinned_owner_write=SoleOwner.EITHER)
ROUND_TRIP = "p0: protect a[0] r\np0: protect a[0] rw\n"
PINNED = "p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: pin a[0]\n"


def run(text: str, semantics: Semantics = LINUX_6_1) -> tuple[Machine, list[tuple[Outcome, ...]]]:
    machine = Machine(semantics)
    outcomes = []
    for op in parse_program(text).steps:
        outcomes.append(step(machine, op).outcomes)
        assert not broken(machine)
    return machine, outcomes


def last(text: str, semantics: Semantics = LINUX_6_1) -> tuple[Outcome, ...]:
    return run(text, semantics)[1][-1]


def frame(machine: Machine, place: str = "a", index: int = 0, process: int = 0) -> Frame:
    pte = machine.process(process).memory.page_table.lookup(WINDOW_BY_NAME[place].vpn + index)
    assert pte is not None
    return pte.frame


# ------------------------------------------------------------------------------ stores by the kernel


STACK = "p0: map a 2 rw private anon\np0: fill a[1] 0x11\np0: fork p1\n"


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ("", Killed(Signal.SIGKILL)),
        ("p1: protect a[1] r\n", Killed(Signal.SIGSEGV)),
        ("p1: unmap a[1]\n", Killed(Signal.SIGSEGV)),
    ],
    ids=["stored", "read-only", "not mapped"],
)
def test_a_handler_runs_where_the_kernel_can_store_what_it_finds(before: str, status: Outcome) -> None:
    machine, outcomes = run(f"{STACK}{before}p1: handle a[1]\np0: wait p1")

    assert outcomes[-1] == (status,)
    assert frame(machine, index=1).content == b"\x11" * 4096


def test_a_handler_fills_what_it_shares_with_others() -> None:
    machine, _ = run("p0: map a 2 rw shared anon\np0: fill a[1] 0x11\np0: fork p1\np1: handle a[1]")

    assert frame(machine, index=1).content == bytes(4096)


def test_where_a_signals_frame_takes_two_pages_both_have_to_take_it() -> None:
    two = replace(LINUX_6_1, signal_frame_pages=2)
    wide, _ = run(f"{STACK}p1: handle a[1]", two)
    narrow, _ = run(f"{STACK}p1: handle a[0]", two)

    assert not wide.unspecified
    assert narrow.unspecified


@pytest.mark.parametrize("via", ["pipe", "socket"])
def test_what_is_received_lies_where_it_should_and_nowhere_else(via: str) -> None:
    machine, outcomes = run(f"p0: map a 2 rw private anon\np0: receive {via} a[0]+4094 5 0x33")

    assert outcomes[-1] == (Received(5),)
    assert frame(machine).content == bytes(4094) + b"\x33" * 2
    assert frame(machine, index=1).content == b"\x33" * 3 + bytes(4093)


def test_a_store_by_the_kernel_breaks_copy_on_write() -> None:
    machine, _ = run("p0: map a 1 rw private anon\np0: fill a[0] 0x11\np0: fork p1\np1: receive pipe a[0]+1 1 0x22")

    assert frame(machine).content == b"\x11" * 4096
    assert frame(machine, process=1).content == b"\x11\x22" + b"\x11" * 4094


@pytest.mark.parametrize("prot", ["none", "r", "rx"])
def test_what_a_process_may_not_store_to_neither_may_the_kernel(prot: str) -> None:
    machine, outcomes = run(f"p0: map a 1 {prot} private anon\np0: receive pipe a[0] 1 0x22\np0: ask cwd a[0]")

    assert outcomes[1:] == [(EFAULT,), (EFAULT,)]
    assert machine.process(0).memory.page_table.lookup(WINDOW_BY_NAME["a"].vpn) is None


def test_a_copy_that_is_refused_later_has_stored_what_lies_before() -> None:
    machine, outcomes = run("p0: map a 1 rw private anon\np0: receive pipe a[0]+4090 17 0x33")

    assert outcomes[-1] == (EFAULT,)
    assert frame(machine).content[4090:] == b"\x33" * 6


def test_a_kernel_that_looks_first_stores_nothing_of_it() -> None:
    looks_first = replace(LINUX_6_1, copy_stops_at_refused_page=False)

    machine, outcomes = run("p0: map a 1 rw private anon\np0: receive pipe a[0]+4090 17 0x33", looks_first)

    assert outcomes[-1] == (EFAULT,)
    assert machine.process(0).memory.page_table.lookup(WINDOW_BY_NAME["a"].vpn) is None


@pytest.mark.parametrize(("query", "answer"), [("cwd", b"/\0"), ("sigmask", bytes(8)), ("itimer", bytes(32))])
def test_an_answer_is_stored_whole(query: str, answer: bytes) -> None:
    machine, outcomes = run(f"p0: map a 1 rw private anon\np0: fill a[0] 0x11\np0: ask {query} a[0]+3")

    assert outcomes[-1] == (Done(),)
    assert frame(machine).content == b"\x11" * 3 + answer + b"\x11" * (4093 - len(answer))


@pytest.mark.parametrize(
    ("end", "word"),
    [("exit 255", b"\0\xff\0\0"), ("crash load a[9]", b"\x0b\0\0\0"), ("crash load a[0]", b"\x09\0\0\0")],
)
def test_the_status_word_tells_how_the_child_ended(end: str, word: bytes) -> None:
    machine, outcomes = run(f"p0: map a 1 rw private anon\np0: fill a[0] 0x55\np0: fork p1\np1: {end}\np0: reap p1 a[0]+1")

    assert outcomes[-1] == (Done(),)
    assert frame(machine).content[:6] == b"\x55" + word + b"\x55"


def test_a_child_whose_status_cannot_be_stored_is_gone_all_the_same() -> None:
    machine, outcomes = run("p0: fork p1\np1: exit 0\np0: reap p1 a[0]")

    assert outcomes[-1] == (EFAULT,)
    assert machine.processes[1].state is State.REAPED


def test_of_a_word_whose_second_page_refuses_nothing_is_stored() -> None:
    machine, outcomes = run(
        "p0: map a 1 rw private anon\np0: fill a[0] 0x11\np0: fork p1\np1: exit 9\np0: reap p1 a[0]+4094"
    )

    assert outcomes[-1] == (EFAULT,)
    assert frame(machine).content == b"\x11" * 4096


# ------------------------------------------------------------------------------ forced stores


@pytest.mark.parametrize("prot", ["none", "r", "rx", "rw"])
def test_a_forced_store_asks_for_no_permission_and_gives_none(prot: str) -> None:
    machine, outcomes = run(
        f"p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: fork p1\np0: protect a[0] {prot}\np0: force a[0] 0x22"
    )
    pte = machine.process(0).memory.page_table.lookup(WINDOW_BY_NAME["a"].vpn)

    assert outcomes[-1] == (Done(),)
    assert (frame(machine).content[0], frame(machine, process=1).content[0]) == (0x22, 0x11)
    assert pte is not None
    assert (pte.readable, pte.writable) == (prot != "none", prot == "rw")


def test_a_forced_store_stays_out_of_the_page_cache() -> None:
    machine, _ = run("p0: load text[0]\np0: force text[0] 0x22")

    assert frame(machine, "text").content[0] == 0x22
    assert machine.cache.frames["text", 0].content[0] != 0x22


def test_what_is_written_to_another_process_is_in_its_memory_alone() -> None:
    text = "p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: fork p1\np1: protect a[0] r\np0: poke p1 a[0] 0x22"

    machine, outcomes = run(text)

    assert outcomes[-1] == (Done(),)
    assert (frame(machine).content[0], frame(machine, process=1).content[0]) == (0x11, 0x22)
    pte = machine.process(1).memory.page_table.lookup(WINDOW_BY_NAME["a"].vpn)
    assert pte is not None
    assert not pte.writable


def test_whether_it_can_be_written_is_up_to_the_mappings_of_the_other_process() -> None:
    mapped = "p0: fork p1\np1: map a 1 rw private anon\n"

    assert last(f"{mapped}p0: poke p1 a[0] 0x22") == (Done(),)
    assert last(f"{mapped}p1: poke p0 a[0] 0x22") == (Failed("EIO"),)


def test_nothing_can_be_forced_to_where_nothing_is() -> None:
    assert last("p0: force a[0] 0x22") == (Failed("EIO"),)


# ------------------------------------------------------------------------------ pins


def test_a_pin_is_one_more_reference_until_it_is_read() -> None:
    machine, _ = run(PINNED)
    counts = held(machine, frame(machine)), pins(machine, frame(machine))

    _, outcomes = run(PINNED + "p0: unpin")

    assert counts == (2, 1)
    assert outcomes[-1] == (Loaded(0x11),)


def test_a_pinned_frame_outlives_its_page_and_its_process() -> None:
    machine, outcomes = run("p0: fork p1\np1: store bss[0] 0x11\np1: pin bss[0]\np1: exit 0\np0: unpin")

    assert outcomes[-1] == (Loaded(0x11),)
    assert machine.pins == []


@pytest.mark.parametrize("writer", [0, 1])
def test_after_a_fork_nobody_stores_to_a_pinned_frame(writer: int) -> None:
    text = f"{PINNED}p0: fork p1\np{1 - writer}: unmap a[0]\np{writer}: store a[0] 0x22\np0: unpin"

    assert last(text) == (Loaded(0x11),)


def test_the_pin_of_somebody_who_is_gone_keeps_its_bytes() -> None:
    text = "p0: store bss[0] 0x11\np0: fork p1\np1: pin bss[0]\np1: exit 0\np0: store bss[0] 0x22\np0: unpin"

    assert last(text) == (Loaded(0x11),)


def test_the_owner_of_a_writable_page_stores_to_what_it_pinned() -> None:
    assert last(PINNED + "p0: store a[0] 0x22\np0: unpin", EITHER) == (Loaded(0x22),)


@pytest.mark.parametrize(
    ("choice", "seen"), [(SoleOwner.REUSE, {0x22}), (SoleOwner.COPY, {0x11}), (SoleOwner.EITHER, {0x11, 0x22})]
)
def test_a_write_fault_of_the_owner_may_leave_the_pin_behind(choice: SoleOwner, seen: set[int]) -> None:
    kernel = replace(PRESETS["textbook"], pinned_owner_write=choice)

    outcomes = last(PINNED + ROUND_TRIP + "p0: store a[0] 0x22\np0: unpin", kernel)

    assert set(outcomes) == {Loaded(value) for value in seen}


def test_a_pin_that_was_left_behind_is_no_reference_any_more() -> None:
    machine, _ = run(PINNED + ROUND_TRIP + "p0: store a[0] 0x22", EITHER)

    adopt_pins(machine, frame(machine), 0)

    assert held(machine, frame(machine)) == 1
    assert machine.pins[0].frame.content[0] == 0x11


def test_a_pin_that_was_not_left_behind_is_certain() -> None:
    machine, _ = run(PINNED + ROUND_TRIP + "p0: store a[0] 0x22", EITHER)

    adopt_pins(machine, frame(machine), 1)

    assert held(machine, frame(machine)) == 2
    assert machine.pins[0].before == ()


def test_a_frame_that_only_a_doubtful_pin_holds_is_not_certain() -> None:
    machine, _ = run(PINNED + ROUND_TRIP + "p0: store a[0] 0x22", EITHER)
    doubtful = frame(machine)

    step(machine, parse_program("p0: unmap a[0]").steps[0])

    assert doubtful in machine.pool.in_use
    assert doubtful not in certain_frames(machine)


@pytest.mark.parametrize("more", ["", "observe\n", "p0: fork p1\np1: exit 0\np0: store a[0] 0x33\n", "p0: unmap a[0]\n"])
def test_a_guest_that_copies_what_its_owner_pinned_conforms(more: str) -> None:
    program = parse_program(f"{PINNED}{ROUND_TRIP}p0: store a[0] 0x22\n{more}observe\np0: unpin")

    verdict = compare(program, ModelGuest().execute(program, How()), PRESETS["model"])

    assert verdict.divergences == ()


def test_the_pipe_has_room_for_so_many_pins() -> None:
    machine, outcomes = run("p0: pin bss[0]\n" * (PIPE_SLOTS + 1))

    assert outcomes[-2:] == [(Done(),), (Failed("EAGAIN"),)]
    assert len(machine.pins) == PIPE_SLOTS


def test_an_empty_pipe_gives_nothing() -> None:
    assert last("p0: unpin") == (Failed("EAGAIN"),)


@pytest.mark.parametrize(("prot", "allowed"), [("r", {Done()}), ("none", {EFAULT}), ("w", {Done(), EFAULT})])
def test_what_can_be_pinned_is_what_can_be_read(prot: str, allowed: set[Outcome]) -> None:
    assert set(last(f"p0: map a 1 {prot} private anon\np0: pin a[0]")) == allowed


def test_a_pin_that_the_kernel_allowed_though_it_need_not_is_held() -> None:
    machine = Machine(LINUX_6_1)
    program = parse_program("p0: map a 1 w private anon\np0: store a[0] 0x11\np0: pin a[0]\np0: unpin")
    allowed = [step(machine, op) for op in program.steps[:3]][-1]
    assert allowed.adopt is not None

    allowed.adopt(Done())

    assert step(machine, program.steps[3]).outcomes == (Loaded(0x11),)
