"""Swap of the teaching kernel: what goes there, seen from outside, and what the kernel publishes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness._tests.test_mini_huge import GUESTS, leaves, opened
from harness.guests import MachineSubject
from harness.program.text import parse_program
from harness.program.trace import FrameFlag, Trace
from harness.program.units import WINDOW_BY_NAME
from harness.subject import How

STORED = "p0: map a 2 rw private anon\np0: fill a[0] 0x11\n"
OUT = "p0: advise a[0] pageout\n"
FIRST = WINDOW_BY_NAME["a"].vpn


@pytest.fixture(scope="module", params=GUESTS)
def subject(request: pytest.FixtureRequest) -> Iterator[MachineSubject]:
    with opened(request.param) as subject:
        yield subject


def run(subject: MachineSubject, program: str) -> Trace:
    return subject.execute(parse_program(program), How(dense=True, accounting=True))


def presence(subject: MachineSubject, program: str) -> list[bool]:
    """Tell after each step whether p0's page a[0] has a frame."""
    return [seen.processes[0].pages[FIRST].frame is not None for seen in run(subject, program).observations]


def test_a_page_goes_and_comes_back_with_the_next_touch(subject: MachineSubject) -> None:
    assert presence(subject, STORED + OUT + "p0: load a[0]") == [True, True, False, True]


def test_what_a_pipe_holds_and_what_another_process_maps_stays(subject: MachineSubject) -> None:
    assert presence(subject, STORED + "p0: pin a[0]\n" + OUT)[-1]
    assert presence(subject, STORED + "p0: fork p1\n" + OUT)[-1]


def test_a_page_that_is_shared_comes_back_as_one_frame_of_the_swap_cache(subject: MachineSubject) -> None:
    seen = run(subject, STORED + OUT + "p0: fork p1\np0: load a[0]\np1: load a[0]").observations

    (frame,) = {process.pages[FIRST].frame for process in seen[-1].processes.values()}
    assert frame is not None
    one, both = seen[-2].frames[frame], seen[-1].frames[frame]
    assert (one.mapcount, one.refcount, both.mapcount, both.refcount) == (1, 2, 2, 2)
    assert one.flags is not None
    assert both.flags is not None
    assert (FrameFlag.SWAPCACHE in one.flags, FrameFlag.SWAPCACHE in both.flags) == (True, False)


def test_a_block_is_split_before_a_page_of_it_goes(subject: MachineSubject) -> None:
    seen = leaves(subject, "p0: map w 512 rw private anon\np0: store w[1] 0x11\np0: advise w[1] pageout")

    assert [leaf.level for leaf in seen[1][0].values()] == [2]
    assert sorted(seen[2][0]) == [0, *range(2, 512)]


def test_the_slots_are_counted_and_are_free_again_in_the_end(subject: MachineSubject) -> None:
    trace = run(subject, STORED + OUT + "p0: fork p1")

    assert subject.client.has_swap
    assert trace.before is not None
    assert trace.after is not None
    assert (trace.before.free_slots, trace.after.free_slots) == (256, 256)


def test_where_all_slots_are_taken_a_page_stays(subject: MachineSubject) -> None:
    program = "p0: map w 512 rw private anon\np0: store w[0] 0x11\np0: advise w[0..511] pageout"

    assert len(leaves(subject, program)[-1][0]) == 512 - 256


@pytest.mark.parametrize("guest", GUESTS)
def test_a_quirk_switches_it_off(guest: str) -> None:
    with opened(guest, append="quirk=no-swap") as subject:
        assert not subject.client.has_swap
        assert presence(subject, STORED + OUT) == [True, True, True]
