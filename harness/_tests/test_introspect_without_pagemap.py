"""A guest without /proc/PID/pagemap: presence, frames and mapcounts are seen from outside, and held to the same model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness.outside
from harness.agent.client import AgentClient
from harness.compare import compare
from harness.compare.verdict import Verdict
from harness.errors import RigError
from harness.guests import MachineSubject, open_subject, semantics_of
from harness.introspect.page_walk import X86
from harness.program.levels import Level
from harness.program.text import parse_program
from harness.subject import How

FAMILY = """
    p0: map a 4 rw private anon
    p0: store a[0] 0x11
    p0: store a[1] 0x22
    p0: load a[2]
    p0: store data[0] 0x33
    p0: fork p1
    p1: store a[0] 0x44
    p1: exit 0
    p0: wait p1
    p0: store a[1] 0x55
    p0: protect a[1] none
    """
STACK = Path(__file__).parents[2] / "fixtures" / "programs" / "stack-growth.prog"


@contextmanager
def blind(guest: str, *faults: str) -> Iterator[MachineSubject]:
    """Open `guest` as if its kernel had no pagemap."""
    read_file = AgentClient.read_file

    def without(self: AgentClient, path: str, *, offset: int = 0, length: int = 4096) -> bytes | None:
        return None if path.endswith("/pagemap") else read_file(self, path, offset=offset, length=length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentClient, "read_file", without)
        try:
            subject = open_subject(guest, faults=faults)
        except RigError as error:
            pytest.skip(f"no machine to test: {error}")
    assert isinstance(subject, MachineSubject)
    try:
        yield subject
    finally:
        subject.close()


def verdict(subject: MachineSubject, text: str) -> Verdict:
    program = parse_program(text)
    return compare(program, subject.execute(program, How(dense=True)), semantics_of(subject))


@pytest.mark.parametrize("guest", ["mini", "linux"])
def test_a_sound_guest_conforms_at_level_frames(guest: str) -> None:
    with blind(guest) as subject:
        found = verdict(subject, FAMILY)

        assert {Level.MAPPINGS, Level.FRAMES, Level.MAPCOUNTS, Level.PTE_BITS} <= subject.levels
        assert (Level.REFCOUNTS in subject.levels) == (guest == "linux")  # whose memory says where its struct page is
    assert found.conforms, found
    pages = [page for seen in found.trace.observations for p in seen.processes.values() for page in p.pages.values()]
    assert {page.present for page in pages} == {True, False}
    assert all((page.frame is not None) == page.present for page in pages)
    counts = {frame.mapcount for seen in found.trace.observations for frame in seen.frames.values()}
    assert {1, 2} <= counts


def test_how_an_unknown_kernel_keeps_what_may_not_be_touched_is_found_out() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.outside, "page_table_format", lambda _arch, _banner: X86())
        with blind("linux") as subject:
            found = verdict(subject, FAMILY)

            assert subject.observer is not None
            held = subject.observer.form.held
    assert held is not None
    assert (held.inverted, bool(held.bits & 0x100)) == (True, True)
    assert found.conforms, found


@pytest.mark.parametrize("fault", ["cow-shares", "sole-owner-always-copies", "fork-keeps-writable"])
def test_a_fault_is_found(fault: str) -> None:
    with blind("mini", fault) as subject:
        assert not verdict(subject, FAMILY).conforms


def test_reading_what_is_absent_is_not_held_against_the_guest() -> None:
    with blind("mini") as subject:
        assert verdict(subject, STACK.read_text(encoding="utf-8")).conforms
