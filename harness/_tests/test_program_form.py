"""Programs as data: well-formedness, families, windows, units."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ProgramError
from harness.program.image import IMAGES, OWN, image_page
from harness.program.ops import (
    OP_BY_VERB,
    OPS,
    Access,
    Clone,
    Crash,
    Crowd,
    Disperse,
    Exec,
    Exit,
    Fill,
    Fork,
    Handle,
    Load,
    Observe,
    Op,
    Peek,
    Print,
    Repeat,
    Store,
    Unmap,
    Vfork,
    Wait,
)
from harness.program.program import MAX_PROCESSES, Family, Program, places
from harness.program.text import parse_program
from harness.program.trace import runs_of
from harness.program.units import PAGE_SIZE, WINDOWS, Address, PageRange, Prot, Window, address_of, in_windows, last_watched
from strategies.programs import programs


def test_every_operation_has_a_verb_and_a_code_of_its_own() -> None:
    assert len({op.verb for op in OPS}) == len({op.code for op in OPS}) == len(OPS) == len(OP_BY_VERB)


def test_as_many_processes_as_the_agent_has_slots_and_no_more() -> None:
    forks = tuple(Fork(0, child) for child in range(1, MAX_PROCESSES))

    assert Program(forks).processes == MAX_PROCESSES
    with pytest.raises(ProgramError, match=f"step 16 .fork.: process names end at p{MAX_PROCESSES - 1}"):
        Program((*forks, Fork(0, MAX_PROCESSES)))


@pytest.mark.parametrize(
    "op",
    [
        Load(0, Address("a", 16)),
        Load(0, Address("a", -1)),
        Load(0, Address("a", 0, -1)),
        Load(0, Address("a", 0, PAGE_SIZE)),
        Load(0, Address("nowhere", 0)),
        Unmap(0, PageRange("a", 0, 0)),
        Unmap(0, PageRange("a", 15, 2)),
        Fill(0, Address("a", 0, 1), 0),
        Print(0, Address("a", 0, 4095), 2),
        Fork(0, -1),
    ],
    ids=str,
)
def test_a_step_outside_the_vocabulary_is_refused_with_its_number(op: Load) -> None:
    with pytest.raises(ProgramError, match=r"^step 2 "):
        Program((Observe(0), op))


def test_a_title_makes_no_difference_between_programs() -> None:
    one, other = Program((Exit(0, 1),), "one"), Program((Exit(0, 1),), "other")

    assert one == other
    assert hash(one) == hash(other)


def test_windows_come_in_the_order_of_addresses() -> None:
    program = parse_program("p0: load data[0]\np0: unmap c[0]\np0: load a[1]\np0: fork p1")

    assert program.windows == ("a", "c", "data")
    assert [list(places(op)) for op in program.steps][-1] == []


def test_a_family_knows_the_living_the_dead_and_whose_children_they_are() -> None:
    family = Family()
    for op in (Fork(0, 1), Fork(1, 2), Fork(0, 3), Exit(2, 0), Exit(3, 0), Exit(1, 0)):
        family.apply(op)

    assert family.live == {0}
    assert family.parent == {0: None, 1: 0, 2: 1, 3: 0}
    assert family.waitable(0) == [1, 3]
    assert family.waitable(1) == [2]
    family.apply(Wait(0, 3))
    assert family.waitable(0) == [1]
    assert family.reaped(0) == [3]


def test_observing_needs_nobody_alive() -> None:
    assert len(Program((Exit(0, 0), Observe(0)))) == 2


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(programs())
def test_the_prefix_of_a_program_is_a_program(program: Program) -> None:
    for length in range(len(program)):
        assert Program(program.steps[:length]).processes <= program.processes


def test_every_page_of_every_window_has_one_address() -> None:
    pages = [(window.name, window.vpn + i) for window in WINDOWS for i in range(window.npages)]

    assert len({vpn for _, vpn in pages}) == len(pages)
    for name, vpn in pages:
        address = address_of(vpn, 17)
        assert address is not None
        assert (address.window, address.vpn, address.offset) == (name, vpn, 17)
        assert address.page.offset == 0


@pytest.mark.parametrize("window", [each for each in WINDOWS if each.watched], ids=lambda each: each.name)
def test_of_a_wide_window_the_watched_pages_alone_are_touched_and_seen(window: Window) -> None:
    watched = [window.vpn + index for index in window.watched]

    assert list(in_windows(window.vpn, window.vpn + window.npages)) == watched
    assert [vpn for run in window.runs() for vpn in run.vpns] == watched
    assert [run.vpns[-1] - window.vpn for run in window.runs(512)][-1] == 511
    assert last_watched(PageRange(window.name, 3, 300)) == Address(window.name, 256)
    assert Program((Load(0, Address(window.name, 511)), Unmap(0, PageRange(window.name, 3, 300))))
    with pytest.raises(
        ProgramError, match=rf"{window.name}\[3\] is not watched: of window {window.name} these pages are, 0"
    ):
        Program((Load(0, Address(window.name, 3)),))


def test_what_lies_in_no_window_has_no_address() -> None:
    assert address_of(0) is None
    assert address_of(WINDOWS[0].vpn - 1) is None


@pytest.mark.parametrize("bits", range(8))
def test_protections_read_back(bits: int) -> None:
    assert Prot.parse(str(Prot(bits))) == Prot(bits)


@pytest.mark.parametrize("text", ["", "x r", "wr", "rr", "rwxn", "None", "-", "q"])
def test_what_is_no_protection_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Prot.parse(text)


def test_every_block_of_the_first_image_has_a_byte_of_its_own() -> None:
    pages = [image_page(segment.file, i) for segment in IMAGES[OWN].segments for i in range(segment.file_pages)]
    blocks = [page[at] for page in pages for at in range(0, PAGE_SIZE, 512)]

    assert len(set(blocks)) == len(blocks)
    assert {len(page) for page in pages} == {PAGE_SIZE}
    assert 0 not in blocks


def test_no_page_of_an_image_is_like_one_at_the_same_place_of_another() -> None:
    data = [image_page(image.data.file, 0) for image in IMAGES.values()]

    assert all(len({page[at] for page in data}) == len(data) for at in range(0, PAGE_SIZE, 512))


def test_no_page_of_a_large_segment_is_like_one_a_power_of_two_away() -> None:
    text = IMAGES["large-text"].text

    assert all(image_page(text.file, 512 + i) != image_page(text.file, i) for i in range(2))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 2), max_size=40))
def test_run_length_encoding_loses_nothing(values: list[int]) -> None:
    runs = runs_of(bytes(values))

    assert b"".join(bytes([value]) * length for value, length in runs) == bytes(values)
    assert all(one[0] != other[0] for one, other in pairwise(runs))


def test_a_store_is_plain_data() -> None:
    assert Store(0, Address("a", 0), 1) == Store(0, Address("a", 0), 1) != Store(1, Address("a", 0), 1)


@pytest.mark.parametrize(
    "wakes",
    [Exec(1), Exit(1, 0), Crash(1, Access.LOAD, Address("a", 0)), Handle(1, Address("a", 0))],
    ids=lambda op: op.verb,
)
def test_who_did_vfork_does_nothing_until_its_child_execs_or_ends(wakes: Op) -> None:
    load = Load(0, Address("a", 0))

    assert Program((Vfork(0, 1), Load(1, Address("a", 0)), wakes, load)).processes == 2
    with pytest.raises(ProgramError, match=r"step 2 .load.: p0 waits until p1 execs or ends"):
        Program((Vfork(0, 1), load, wakes))


def test_several_may_wait_at_once_each_for_its_own_child() -> None:
    family = Family()
    for op in (Clone(0, 1), Vfork(0, 2), Vfork(1, 3), Vfork(3, 4)):
        family.apply(op)

    assert (family.active, family.suspended) == ({2, 4}, {0: 2, 1: 3, 3: 4})
    family.apply(Exit(4, 0))
    assert family.active == {2, 3}
    assert family.waitable(3) == [4]


@pytest.mark.parametrize("op", [Crowd(0, 1), Exec(0), Exit(0, 1)], ids=lambda op: op.verb)
def test_who_has_idle_children_disperses_them_before_anything_that_forgets_them(op: Op) -> None:
    assert len(Program((Crowd(0, 300), Disperse(0), op))) == 3
    with pytest.raises(ProgramError, match="p0 has idle children"):
        Program((Crowd(0, 300), op))


def test_nobody_disperses_what_is_not_there_and_no_program_has_more_than_the_guest_can_hold() -> None:
    with pytest.raises(ProgramError, match="p0 has no idle children"):
        Program((Disperse(0),))
    with pytest.raises(ProgramError, match="at most 400 idle children at a time"):
        Program((Fork(0, 1), Crowd(0, 300), Crowd(1, 101)))


@pytest.mark.parametrize(
    "body",
    [
        *[(), (Observe(0),), (Fork(0, 1),), (Exit(0, 0),), (Crowd(0, 3),), (Repeat(0, 2, 0),)],
        *[(Print(0, Address("a", 0), 1),), (Peek(0, Address("a", 0), 1),)],
    ],
    ids=str,
)
def test_only_what_leaves_the_family_as_it_was_and_says_nothing_is_repeated(body: tuple[Op, ...]) -> None:
    assert len(Program((Repeat(0, 1000, 3), Fork(0, 1), Exit(1, 0), Wait(0, 1)))) == 4
    with pytest.raises(ProgramError, match=r"step 1 .repeat.: it takes a body"):
        Program((Repeat(0, 2, 1), *body))


def test_every_process_that_a_program_makes_is_counted_in_each_round() -> None:
    program = parse_program(
        "p0: fork p1\np0: crowd 300\np0: disperse\np0: repeat 4 3\np0: fork p2\np2: exit 0\np0: wait p2\np0: fork p3"
    )

    assert program.forks == 1 + 1 + 300 + 4 + 1


@pytest.mark.parametrize(
    "steps",
    [
        "p0: fork p1\np1: exit 7\np0: kill p1",
        "p0: fork p1\np1: exit 7\np0: wait p1\np0: kill p1",
        "p0: fork p1\np1: exit 7\np0: repeat 3 1\np0: kill p1",
    ],
)
def test_who_has_ended_may_be_killed_in_vain(steps: str) -> None:
    assert len(parse_program(steps)) > 2


@pytest.mark.parametrize(
    "steps",
    [
        "p0: fork p1\np1: fork p2\np2: exit 7\np1: exit 7\np0: kill p2",
        "p0: fork p1\np0: exit 7\np1: kill p0",
        "p0: fork p1\np1: exit 7\np0: wait p1\np0: crowd 3\np0: kill p1",
        "p0: kill p0",
    ],
)
def test_nobody_is_killed_of_whom_init_decides_or_whose_number_may_be_an_idle_childs(steps: str) -> None:
    with pytest.raises(ProgramError, match="nobody whom"):
        parse_program(steps)


@pytest.mark.parametrize("text", ["private shm", "shared shm noreplace", "shared shm fixed populate"])
def test_a_segment_of_system_v_is_attached_and_no_more(text: str) -> None:
    with pytest.raises(ProgramError, match="shm is attached and no more: it is shared"):
        parse_program(f"p0: map a 1 rw {text}")


@pytest.mark.parametrize(
    "steps",
    [
        "p0: poke p0 a[0] 0x22",
        "p0: fork p1\np1: exit 7\np0: poke p1 a[0] 0x22",
        "p0: vfork p1\np1: poke p0 a[0] 0x22",
        "p0: fork p1\np1: crowd 3\np0: poke p1 a[0] 0x22",
        "p0: fork p1\np1: handover exits\np0: poke p1 a[0] 0x22",
    ],
)
def test_memory_is_written_of_another_process_that_sleeps_and_is_there_by_its_number(steps: str) -> None:
    with pytest.raises(ProgramError, match="whose memory"):
        parse_program(steps)


def test_who_has_execd_after_another_thread_took_over_is_there_by_its_number_again() -> None:
    assert parse_program("p0: fork p1\np1: handover exits\np1: exec\np0: poke p1 a[0] 0x22")
