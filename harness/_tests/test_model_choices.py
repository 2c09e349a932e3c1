"""What kernels may choose, and how the model adopts what a guest did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.adopt import (
    ExpectedPage,
    Presence,
    adopt_crowds,
    adopt_move,
    adopt_presence,
    adopt_zero,
    expected_pages,
)
from harness.model.allowed import Allowed
from harness.model.counts import held
from harness.model.frame import FrameKind
from harness.model.invariants import broken
from harness.model.machine import Machine
from harness.model.prefault import Whose, adopt_prefault, settle
from harness.model.presets import LINUX_6_1, PRESETS, on_another_cpu
from harness.model.semantics import Choice, Semantics, changed
from harness.model.step import step
from harness.program.outcome import Code, Done, Failed, Faulted, Loaded, Outcome, Printed, Signal
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME, Address

BSS = WINDOW_BY_NAME["bss"].vpn
DATA = WINDOW_BY_NAME["data"].vpn


def run(text: str, semantics: Semantics = LINUX_6_1) -> Machine:
    machine = Machine(semantics)
    more(machine, text)
    return machine


def more(machine: Machine, text: str) -> Outcome | None:
    """Do more steps; give the outcome of the last one."""
    outcome = None
    for op in parse_program("p0: fork p1\n" + text).steps[1:]:
        outcome = step(machine, op).only
    return outcome


def page(machine: Machine, process: int, vpn: int) -> ExpectedPage:
    return expected_pages(machine, process)[vpn]


def forked(text: str, semantics: Semantics = LINUX_6_1) -> Machine:
    """Run a program of p0, and fork p1."""
    machine = run(text, semantics)
    for op in parse_program("p0: fork p1").steps:
        step(machine, op)
    return machine


def test_the_presets_are_known_by_their_names() -> None:
    assert {"linux-6.1", "linux", "linux-5.10", "linux-6.1-arm64", "any-kernel", "model", "mini", "textbook"} <= set(
        PRESETS
    )
    assert all(semantics.name == name for name, semantics in PRESETS.items())


def test_allowed_permits_its_outcomes_and_no_other() -> None:
    allowed = Allowed((Done(), Failed("ENOMEM")), "either")

    assert allowed.permits(Failed("ENOMEM"))
    assert not allowed.permits(Failed("EPERM"))
    assert not allowed.permits(None)
    assert allowed.only is None
    assert Allowed((), "nothing").permits(None)


# ------------------------------------------------------------------------------ fork


@pytest.mark.parametrize(("text", "vpn"), [("p0: load bss[0]", BSS), ("p0: load data[0]", DATA)])
def test_a_clean_page_is_optional_in_the_child(text: str, vpn: int) -> None:
    machine = forked(text)

    assert page(machine, 0, vpn).presence is Presence.REQUIRED
    assert page(machine, 1, vpn).presence is Presence.OPTIONAL


def test_a_written_page_is_required_in_the_child() -> None:
    machine = forked("p0: store data[0] 1")

    assert page(machine, 1, DATA).presence is Presence.REQUIRED


def test_an_absent_page_is_adopted_as_absent_and_comes_back_by_a_touch() -> None:
    machine = forked("p0: load data[0]")

    adopt_presence(machine, 1, DATA, False)

    assert page(machine, 1, DATA).presence is Presence.FORBIDDEN
    assert held(machine, machine.cache.frames["data", 0]) == 2
    assert more(machine, "p1: load data[0]") == Loaded(0x80)
    assert page(machine, 1, DATA).presence is Presence.REQUIRED


def test_a_present_page_is_adopted_as_present() -> None:
    machine = forked("p0: load data[0]")

    adopt_presence(machine, 1, DATA, True)

    assert page(machine, 1, DATA).presence is Presence.REQUIRED
    with pytest.raises(ValueError, match="not optional"):
        adopt_presence(machine, 1, DATA, False)


def test_a_load_of_an_optional_page_takes_one_fault_or_none() -> None:
    machine = forked("p0: load bss[0]")

    more(machine, "p1: load bss[0]")

    assert machine.last_faults_range == (0, 1)
    assert page(machine, 1, BSS).presence is Presence.REQUIRED


def test_a_store_to_an_optional_page_takes_one_fault() -> None:
    machine = forked("p0: load bss[0]")

    more(machine, "p1: store bss[0] 1")

    assert machine.last_faults_range == (1, 1)


def test_a_kernel_that_never_copies_clean_entries_leaves_them_out() -> None:
    machine = forked("p0: load data[0]", replace(LINUX_6_1, fork_copies_clean_ptes=Choice.NEVER))

    assert page(machine, 1, DATA).presence is Presence.FORBIDDEN


# ------------------------------------------------------------------------------ protect, and reuse


@pytest.mark.parametrize(("choice", "faults"), [(Choice.ALWAYS, (0, 0)), (Choice.NEVER, (1, 1)), (Choice.EITHER, (0, 1))])
def test_a_store_after_a_protection_round_trip_faults_as_the_kernel_chooses(
    choice: Choice, faults: tuple[int, int]
) -> None:
    machine = run(
        "p0: store bss[0] 1\np0: protect bss[0] r\np0: protect bss[0] rw\np0: store bss[0] 2",
        replace(LINUX_6_1, protect_grants_write=choice),
    )

    assert machine.last_faults_range == faults
    assert broken(machine) == []


def test_a_kernel_that_looks_first_changes_nothing_before_a_hole() -> None:
    semantics = replace(LINUX_6_1, protect_changes_before_hole=False)
    machine = run("p0: unmap data[2]\np0: protect data[0..3] r", semantics)

    assert more(machine, "p0: store data[0] 1") == Done()


def test_a_frame_reused_on_a_kernel_that_may_copy_may_move_until_it_is_seen() -> None:
    machine = forked("p0: store bss[0] 1", PRESETS["linux-5.10"])
    more(machine, "p1: exit 0")
    more(machine, "p0: store bss[0] 2")
    frame = page(machine, 0, BSS).frame
    assert frame is not None
    assert frame.may_move

    adopt_move(frame)
    more(machine, "p0: store bss[0] 3")

    assert not frame.may_move


# ------------------------------------------------------------------------------ zero page


EITHER_ZERO = replace(LINUX_6_1, zero_page_on_read=Choice.EITHER)


def test_a_kernel_without_zero_page_gives_a_zeroed_frame() -> None:
    machine = run("p0: load bss[0]\np0: load bss[1]", PRESETS["textbook"])

    frames = [page(machine, 0, BSS + index).frame for index in (0, 1)]

    assert [frame and frame.kind for frame in frames] == [FrameKind.ANON, FrameKind.ANON]
    assert frames[0] is not frames[1]


@pytest.mark.parametrize("is_zero", [True, False])
def test_an_undetermined_frame_becomes_what_the_guest_shows(is_zero: bool) -> None:
    machine = run("p0: load bss[0]", EITHER_ZERO)
    frame = page(machine, 0, BSS).frame
    assert frame is not None
    assert frame.kind.name == "UNDETERMINED"

    adopt_zero(frame, is_zero)
    assert frame.kind.name == ("ZERO" if is_zero else "ANON")
    more(machine, "p0: store bss[0] 1")

    assert (page(machine, 0, BSS).frame is frame) == (not is_zero)
    assert broken(machine) == []
    with pytest.raises(ValueError, match="not undetermined"):
        adopt_zero(frame, is_zero)


def test_an_undetermined_frame_that_is_shared_is_copied_by_a_store() -> None:
    machine = forked("p0: load bss[0]", EITHER_ZERO)

    more(machine, "p1: store bss[0] 1")

    assert page(machine, 0, BSS).content == bytes(4096)
    assert page(machine, 1, BSS).frame is not page(machine, 0, BSS).frame
    assert broken(machine) == []


# ------------------------------------------------------------------------------ prefault


PREFAULT = replace(LINUX_6_1, prefault_budget=8)


def test_without_a_budget_no_untouched_page_may_be_present() -> None:
    machine = run("p0: map a 4 rw private anon")

    assert {each.presence for each in expected_pages(machine, 0).values()} == {Presence.FORBIDDEN}
    with pytest.raises(ValueError, match="may not be prefaulted"):
        adopt_prefault(machine, 0, BSS)


def test_with_a_budget_an_untouched_page_may_be_present_whatever_its_protection() -> None:
    machine = run("p0: map a 4 r private anon\np0: protect bss[1] none", PREFAULT)

    assert page(machine, 0, BSS) == ExpectedPage(Presence.OPTIONAL, None, True, bytes(4096), may_write=True, prefault=True)
    assert page(machine, 0, BSS + 1) == ExpectedPage(Presence.OPTIONAL, None, False, None, may_write=False, prefault=True)
    assert page(machine, 0, WINDOW_BY_NAME["a"].vpn).presence is Presence.OPTIONAL


def test_a_prefaulted_page_has_a_frame_of_its_own_and_counts_until_it_is_touched() -> None:
    machine = run("observe", PREFAULT)

    frame = adopt_prefault(machine, 0, BSS)

    assert page(machine, 0, BSS).frame is frame
    assert page(machine, 0, BSS).prefault
    more(machine, "p0: store bss[0] 1")
    assert page(machine, 0, BSS).frame is frame
    assert not page(machine, 0, BSS).prefault
    assert machine.last_faults_range == (0, 1)
    assert broken(machine) == []


def shown(machine: Machine, *pages: tuple[int, int, str]) -> None:
    """Let (process, page, name of its frame) be there, each with a frame of the process's own; "zero" is the zero page."""
    for process, vpn, _ in pages:
        adopt_presence(machine, process, vpn, True)
    whose = {(process, vpn): (name, Whose.ZERO if name == "zero" else Whose.OWN) for process, vpn, name in pages}
    settle(machine, whose)


def test_a_page_that_was_brought_in_before_a_fork_is_shared_with_the_child() -> None:
    machine = forked("observe", PREFAULT)

    shown(machine, (0, BSS, "A"), (1, BSS, "A"))

    frame = page(machine, 0, BSS).frame
    assert frame is not None
    assert frame is page(machine, 1, BSS).frame
    assert (held(machine, frame), page(machine, 0, BSS).may_write) == (2, False)
    assert broken(machine) == []
    more(machine, "p1: store bss[0] 1")
    assert page(machine, 1, BSS).frame is not frame
    assert machine.last_faults_range == (1, 1)


def test_a_page_that_was_brought_in_after_a_fork_is_not_shared() -> None:
    machine = forked("observe", PREFAULT)

    shown(machine, (0, BSS, "A"), (1, BSS, "B"))

    assert page(machine, 0, BSS).frame is not page(machine, 1, BSS).frame
    assert page(machine, 0, BSS).may_write
    assert broken(machine) == []


def test_what_a_fork_may_have_shared_is_shared_also_where_it_was_moved_or_loaded_from() -> None:
    machine = forked("observe", PREFAULT)
    more(machine, "p0: remap bss[0..3] a[0..3]\np1: load bss[0]")
    moved = WINDOW_BY_NAME["a"].vpn

    shown(machine, (0, moved, "A"))
    settle(machine, {(1, BSS): ("A", Whose.OWN)})

    assert page(machine, 0, moved).frame is page(machine, 1, BSS).frame
    assert broken(machine) == []


def test_a_load_after_a_fork_may_have_found_the_zero_page_in_one_and_a_frame_in_the_other() -> None:
    machine = forked("observe", PREFAULT)
    more(machine, "p0: load bss[0]")

    settle(machine, {(0, BSS): ("zero", Whose.ZERO), (1, BSS): ("A", Whose.OWN)})

    assert page(machine, 0, BSS).frame is machine.zero
    assert page(machine, 1, BSS).frame is not machine.zero
    assert broken(machine) == []


def test_a_page_that_was_not_there_after_a_fork_is_shared_no_more() -> None:
    machine = forked("observe", PREFAULT)

    adopt_presence(machine, 0, BSS, False)
    shown(machine, (1, BSS, "A"))

    assert adopt_prefault(machine, 0, BSS) is not page(machine, 1, BSS).frame
    assert broken(machine) == []


def test_the_idle_children_of_a_process_have_what_it_had_before_the_forks() -> None:
    machine = run("p0: crowd 3", PREFAULT)

    shown(machine, (0, BSS, "A"))

    frame = page(machine, 0, BSS).frame
    assert frame is not None
    assert held(machine, frame) == 4
    assert broken(machine) == []


def test_a_store_to_what_a_fork_may_have_shared_takes_a_frame_with_a_fault_or_without() -> None:
    machine = forked("observe", PREFAULT)
    more(machine, "p1: store bss[0] 1")

    assert machine.last_faults_range == (0, 1)
    assert page(machine, 1, BSS).may_write
    assert broken(machine) == []


def test_nothing_is_known_of_a_pin_of_a_page_that_a_fork_may_have_shared_once_it_is_stored_to() -> None:
    machine = forked("observe", PREFAULT)
    more(machine, "p0: pin bss[0]")

    assert not machine.unspecified
    more(machine, "p0: store bss[0] 1")
    assert machine.unspecified


def test_a_zombie_may_keep_its_memory_until_it_is_waited_for() -> None:
    program = parse_program("p0: store bss[0] 1\np0: fork p1\np1: exit 0\np0: wait p1")
    machine = Machine(replace(LINUX_6_1, zombies_keep_memory=True))
    found = []
    for op in program.steps:
        step(machine, op)
        frame = page(machine, 0, BSS).frame
        found.append(frame and held(machine, frame))
        assert broken(machine) == []

    assert found == [1, 2, 2, 1]


def test_a_zombie_that_no_step_can_wait_for_keeps_its_memory_to_the_end() -> None:
    program = parse_program("p0: fork p1\np1: fork p2\np2: exit 0\np1: exit 0")
    machine = Machine(replace(LINUX_6_1, zombies_keep_memory=True))
    for op in program.steps:
        step(machine, op)

    assert [number for number, process in machine.processes.items() if process.space is not None] == [0, 1, 2]
    assert broken(machine) == []


def test_a_store_to_shared_memory_may_take_a_fault_after_fork() -> None:
    before = "p0: map a 1 rw shared anon\np0: store a[0] 1"
    machine = forked(before, replace(LINUX_6_1, fork_protects_shared=True))
    more(machine, "p0: store a[0] 2")

    assert machine.last_faults_range == (0, 1)
    more(machine, "p0: store a[0] 2")
    assert machine.last_faults_range == (0, 0)
    assert page(machine, 0, parse_program("p0: load a[0]").steps[0].at.vpn).may_write  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", ["observe", "p0: exec small"], ids=["first image", "another image"])
def test_the_image_may_be_copied_by_exec_where_the_kernel_says_so(before: str) -> None:
    text = f"{before}\np0: load data[0]"
    maps, copies = (run(text, replace(PREFAULT, image_may_be_copied=each)) for each in (False, True))

    assert page(maps, 0, DATA).frame in maps.cache.frames.values()
    settle(copies, {(0, DATA): ("A", Whose.OWN)})
    assert page(copies, 0, DATA).may_write
    settle(cached := run(text, copies.semantics), {(0, DATA): ("A", Whose.CACHE)})
    assert page(cached, 0, DATA).frame in cached.cache.frames.values()


def test_a_pin_is_of_the_frame_that_its_page_turns_out_to_have() -> None:
    machine = run("p0: pin data[0]", replace(PREFAULT, image_may_be_copied=True))

    settle(machine, {(0, DATA): ("A", Whose.CACHE)})

    assert held(machine, machine.cache.frames["data", 0]) == 3
    assert broken(machine) == []


def test_fault_around_maps_the_cached_frame() -> None:
    machine = run("observe", replace(LINUX_6_1, file_pages_may_appear=True))

    assert page(machine, 0, DATA).presence is Presence.OPTIONAL
    adopt_prefault(machine, 0, DATA, Whose.CACHE)

    assert page(machine, 0, DATA).frame is machine.cache.frames["data", 0]
    assert page(machine, 0, BSS).presence is Presence.FORBIDDEN
    assert broken(machine) == []


def test_the_first_touch_after_fork_may_set_the_access_flag_by_a_fault() -> None:
    arm64 = run("p0: store data[0] 0x01\np0: fork p2\np2: load data[0]", PRESETS["linux-6.1-arm64"])
    assert (arm64.last_faults_least, arm64.last_faults) == (0, 1)

    step(arm64, parse_program("p0: fork p2\np2: load data[0]").steps[1])

    assert (arm64.last_faults_least, arm64.last_faults) == (0, 0)


@pytest.mark.parametrize(
    ("preset", "outcome", "kept"),
    [
        ("linux-5.10", Failed("EFAULT"), False),
        ("linux-6.1", Failed("EFAULT"), True),
        ("linux-6.17", Failed("EFAULT"), True),
    ],
)
def test_a_move_of_a_hole_unmaps_the_new_range_where_the_hole_is_not_seen_first(
    preset: str, outcome: Outcome, kept: bool
) -> None:
    machine = run("p0: map b 4 rw private anon", PRESETS[preset])

    assert more(machine, "p0: remap c[4..5] b[0..1]") == outcome

    assert (machine.process(0).memory.vmas.find(WINDOW_BY_NAME["b"].vpn) is not None) == kept


@pytest.mark.parametrize(
    ("preset", "errno"), [("linux-5.10", "EINVAL"), ("linux-6.12", "EFAULT"), ("linux-6.17", "EINVAL")]
)
def test_a_move_of_a_hole_over_itself_fails_for_what_is_asked_first(preset: str, errno: str) -> None:
    machine = run("observe", PRESETS[preset])

    assert more(machine, "p0: remap c[10..12] c[11..13]") == Failed(errno)


def test_a_move_of_many_mappings_keeps_what_lies_at_the_new_place_of_a_hole() -> None:
    machine = run(
        "p0: map a[0] rw private anon\np0: map a[2] r private anon\np0: map b 4 rw private anon\np0: store b[1] 0x22",
        PRESETS["linux-6.17"],
    )

    assert more(machine, "p0: remap a[0..2] b[0..2]") == Done()

    assert more(machine, "p0: load b[1]") == Loaded(0x22)
    assert not machine.process(0).memory.vmas.any_in(WINDOW_BY_NAME["a"].vpn, WINDOW_BY_NAME["a"].vpn + 3)
    assert broken(machine) == []


@pytest.mark.parametrize(("preset", "outcome"), [("linux-5.10", Failed("EFAULT")), ("linux-6.1", Printed(1))])
def test_a_write_from_memory_that_ends_writes_what_there_is_or_nothing(preset: str, outcome: Outcome) -> None:
    machine = run("p0: map c 1 rw private anon", PRESETS[preset])

    assert more(machine, "p0: write f 0 c[0]+4095 8") == outcome


@pytest.mark.parametrize(("held", "presence"), [(True, Presence.REQUIRED), (False, Presence.OPTIONAL)])
def test_a_page_that_is_free_to_go_stays_while_it_is_a_buffer(held: bool, presence: Presence) -> None:
    machine = run("p0: store bss[0] 0x11\np0: fix bss[0]\np0: advise bss[0] free")
    if not held:
        more(machine, "p0: unfix")

    assert page(machine, 0, BSS).presence is presence
    assert len(page(machine, 0, BSS).contents) == (1 if held else 2)


@pytest.mark.parametrize(("op", "unknown"), [("pin bss[0]", True), ("write f 0 bss[0] 4", True), ("pin bss[1]", False)])
def test_what_is_taken_from_a_page_that_was_free_to_go_is_not_said(op: str, unknown: bool) -> None:
    machine = run("p0: store bss[0] 0x11\np0: store bss[1] 0x22\np0: advise bss[0] free")

    for each in parse_program(f"p0: {op}").steps:
        step(machine, each)

    assert bool(machine.unspecified) == unknown


def test_a_pipe_gives_either_of_the_bytes_that_a_page_may_hold() -> None:
    machine = run("p0: store bss[0] 0x11\np0: advise bss[0] free\np0: store bss[0]+1 0x22\np0: pin bss[0]")
    (op,) = parse_program("p0: unpin").steps

    assert set(step(machine, op).outcomes) == {Loaded(0x11), Loaded(0)}


def test_a_copy_of_a_page_of_a_file_holds_all_that_the_page_may_hold() -> None:
    machine = run("p0: map a 1 rw shared f\np0: map b 1 rw private f\np0: store a[0] 0x11")
    machine.cache.frame("f", 0).add_content(bytes(4096))

    assert len(page(machine, 0, WINDOW_BY_NAME["b"].vpn).contents) == 2
    more(machine, "p0: store b[0]+1 0x22")

    assert {each[0] for each in page(machine, 0, WINDOW_BY_NAME["b"].vpn).contents} == {0, 0x11}


@pytest.mark.parametrize("end", ["p0: unmap a[0..1]", "p0: map a 2 rw private anon", "p0: exec"])
def test_shared_memory_ends_with_its_last_mapping(end: str) -> None:
    machine = run("p0: map a 2 rw shared anon\np0: store a[1] 0x11")
    cached = len(machine.cache.frames)

    more(machine, end)

    assert broken(machine) == []
    assert len(machine.cache.frames) == cached - 1


@pytest.mark.parametrize(("to", "unknown"), [("a[0]", True), ("a[0]+50", True), ("a[0]+100", False), ("a[1]", False)])
def test_what_a_read_of_a_page_into_itself_gives_is_not_said(to: str, unknown: bool) -> None:
    machine = run("p0: map a 1 rw shared f\np0: map a[1] rw private anon\np0: store a[0] 0x11\np0: store a[1] 0x22")

    for op in parse_program(f"p0: read f 0 {to} 100").steps:
        step(machine, op)

    assert bool(machine.unspecified) == unknown


def test_whether_two_mappings_that_are_alike_move_as_one_is_the_kernels_choice() -> None:
    machine = run("p0: map a 1 rw private anon\np0: map a[1] rw private anon")
    (op,) = parse_program("p0: remap a[0..1] e[0..1]").steps

    allowed = step(machine, op)

    assert allowed.outcomes == (Done(), Failed("EFAULT"))


def test_idle_children_may_lack_clean_pages_and_the_counts_tell_how_many() -> None:
    machine = run("p0: load data[0]\np0: crowd 3")
    frame = page(machine, 0, DATA).frame
    assert frame is not None
    before = held(machine, frame)

    adopted = adopt_crowds(machine, frame, 3)

    assert adopted
    assert held(machine, frame) == before - 3


@pytest.mark.parametrize(("preset", "byte"), [("linux-5.10", 0x44), ("linux-6.1", 0)])
def test_a_hole_that_is_spliced_gets_a_page_for_that_before_linux_5_19(preset: str, byte: int) -> None:
    machine = run("p0: splice m 5\np0: map b 1 rw shared m\np0: store b[0]+5 0x44", PRESETS[preset])

    assert more(machine, "p0: unpin") == Loaded(byte)
    assert broken(machine) == []


EXEC_ONLY = "p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: protect a[0] x"


@pytest.mark.parametrize(("has_key", "code"), [(False, Code.ACCERR), (True, Code.PKUERR)])
def test_memory_that_may_only_be_executed_is_refused_as_the_cpu_does_it(has_key: bool, code: Code) -> None:
    machine = run(EXEC_ONLY, replace(LINUX_6_1, exec_implies_read=False, exec_only_by_key=has_key))

    refused = Faulted(Signal.SIGSEGV, code, Address("a", 0))
    assert more(machine, EXEC_ONLY + "\np0: load a[0]") == refused
    assert more(machine, EXEC_ONLY + "\np0: store a[0] 0x22") == refused


def test_a_key_forbids_nothing_where_it_can_be_read_and_a_store_has_no_key_then() -> None:
    machine = run(EXEC_ONLY, replace(LINUX_6_1, exec_only_by_key=True))

    assert more(machine, EXEC_ONLY + "\np0: load a[0]") == Loaded(0x11)
    assert more(machine, EXEC_ONLY + "\np0: store a[0] 0x22") == Faulted(Signal.SIGSEGV, Code.ACCERR, Address("a", 0))


def test_on_another_cpu_what_it_may_do_is_one_of_two_unless_it_was_left_open_or_said() -> None:
    unknown = dict(on_another_cpu(PRESETS["linux-6.1-arm64"]).unknown)
    linux = on_another_cpu(PRESETS["linux"])
    said = changed(on_another_cpu(LINUX_6_1), {"exec_implies_read": False})

    assert unknown["forked_entries_are_old"] == (False,)
    assert unknown["shared_load_grants_write"] == (Choice.ALWAYS,)
    assert dict(on_another_cpu(LINUX_6_1).unknown) == {"exec_implies_read": (False,), "exec_only_by_key": (True,)}
    assert len(linux.unknown) == len(dict(linux.unknown))
    assert linux == PRESETS["linux"]
    assert "exec_implies_read" not in dict(said.unknown)
