"""The agent on a real Linux in QEMU: every operation, and two observers that agree. Skipped where there is no machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.agent import linux
from harness.errors import RigError
from harness.guest.agent_build import build_agent
from harness.guest.definition import load_definition
from harness.guest.image import obtain_kernel
from harness.guest.machine import find_emulator
from harness.guests import MachineSubject, open_subject, semantics_of
from harness.program.levels import Level
from harness.program.ops import OPS
from harness.program.outcome import Code, Exited, Faulted, Killed, Loaded, Signal
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, FrameFlag, FrameSeen, Observation, Trace
from harness.program.units import Address
from harness.runner import Runner
from harness.subject import How

PROGRAMS = {
    "the kernel stores and holds": """
        p0: map a 2 rw private anon
        p0: receive pipe a[0]+4090 17 0x33
        p0: ask cwd a[0]+5
        p0: force a[1]+1 0x55
        p0: pin a[0]+3
        p0: unpin
        p0: fork p1
        p1: exit 3
        p0: reap p1 a[0]+9
        p0: fix a[1]
        p0: deliver a[1] 0x44
        p0: unfix
        p0: load a[1]
        """,
    "a child has a copy": """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: store a[0] 0x22
        p1: load a[0]
        p1: exit 7
        p0: wait p1
        """,
    "three generations": """
        p0: map c 16 rw private anon
        p0: fill c[7] 0x11
        p0: fill c[8] 0x12
        p0: fork p1
        p1: store c[7]+4095 0x22
        p1: fork p2
        p2: store c[8]+5 0x33
        observe
        p1: exit 0
        p2: load c[7]+4095
        p2: load c[8]+4
        p2: exit 1
        p0: wait p1
        p0: load c[7]+4095
        """,
    "threads end with their process, and with its image": """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: threads 2
        p0: fork p1
        p1: threads 1
        p1: store a[0] 0x22
        p1: exit 3
        p0: wait p1
        p0: exec
        p0: threads 1
        """,
    "an exec starts afresh": """
        p0: store data[1]+17 0x99
        p0: map e[3..5] rw private anon
        p0: store e[4] 0x11
        p0: fork p1
        p1: exec
        p1: load data[1]+17
        p1: load e[4]
        p1: load bss[0]
        p1: load text[1]+512
        p1: exit 0
        p0: load data[1]+17
        """,
    "an address space of several": """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p1: store a[0] 0x22
        p0: load a[0]
        p0: vfork p2
        p2: store a[1] 0x33
        p1: exit 0
        observe
        p2: exec
        p0: load a[1]
        p0: vfork p3
        p3: crash store a[0]
        p0: wait p3
        p0: load a[0]
        """,
    "rounds": """
        p0: map a 2 rw private anon
        p0: repeat 20 5
        p0: load a[0]
        p0: store a[0] 0x11
        p0: fork p1
        p1: crash store a[0]
        p0: wait p1
        p0: load a[0]
        p0: repeat 1 1
        p0: load a[0]
        """,
    "what a pipe and /proc/PID/mem show": """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: peek a[0] 3
        p0: splice f 100
        p0: feed 0x66
        p0: unpin
        p0: unpin
        """,
    "another thread": """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: handover exits
        p1: store a[0] 0x22
        p1: force a[1] 0x23
        p1: poke p0 a[1] 0x24
        p0: load a[1]
        p1: exec
        p1: handover sleeps
        p1: exit 3
        p0: wait p1
        p0: load a[0]
        """,
    "one page in many places": """
        p0: mirror a 3 rw shared f+1
        p0: mirror many 20 r private f+1
        p0: store a[2] 0x11
        p0: throng 9 many[0..21]
        p0: copyrange f 4096 g 100 4096
        p0: copyrange g 100 f 8000 17
        p0: load many[19]
        p0: punch f 4096 8192
        p0: load a[1]
        p0: disperse
        """,
    "a crowd": """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: load data[0]
        p0: crowd 40
        observe
        p0: store a[0] 0x22
        p0: fork p1
        p1: crowd 3
        p0: disperse
        p1: disperse
        p1: exit 0
        p0: crowd 2
        """,
    "deaths of two kinds": """
        p0: map b[2] r private anon
        p0: fork p1
        p0: fork p2
        p1: crash store b[2]
        p2: crash load b[2]
        p0: wait p1
        p0: wait p2
        """,
    "protections": """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: protect a[1] r
        p0: store a[1] 0x22
        p0: protect a[1] none
        p0: load a[1]
        p0: protect a[0..3] rw
        p0: protect a[0..2] rw
        p0: store a[1] 0x33
        p0: load a[1]
        """,
    "holes and splits": """
        p0: map d 8 rw private anon
        p0: fill d[0] 0x44
        p0: fill d[7] 0x55
        p0: unmap d[2..5]
        p0: load d[3]
        p0: load d[7]+4095
        p0: unmap data[1]
        p0: load data[2]+511
        p0: load data[1]
        """,
    "a map over a map": """
        p0: map a 4 rw private anon
        p0: fill a[1] 0x66
        p0: map a[1..2] rw private anon
        p0: load a[1]
        observe
        p0: store a[2] 0x77
        """,
    "what the kernel reads": """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x42
        p0: print a[0]+4090 6
        p0: fork p1
        p1: store a[0]+4091 0x43
        p1: print a[0]+4090 6
        p0: print b[0] 8
        p0: protect a[0] none
        p0: print a[0] 8
        """,
    "the zero page": """
        p0: map a 4 rw private anon
        p0: load a[0]
        p0: load a[1]
        observe
        p0: store a[1]+9 0x11
        p0: load a[0]+9
        p0: fork p1
        p1: load a[0]
        """,
    "nobody touches anything": "observe",
    "ways to change what is mapped": """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: remap a[0..1] d[3..6]
        p0: store d[3] 0x22
        p0: roam a[2..3] b[0..3]
        p1: advise a[0] dontneed
        p1: brk heap[1]+1
        p1: store heap[1] 0x33
        p1: brk heap[1]
        p1: load heap[1]
        p1: scratch 3
        p1: try map-huge a[0]
        p1: load a[0]
        """,
    "files": """
        p0: map a 4 rw shared f
        p0: map a[4..5] rw private f+1
        p0: fork p1
        p1: store a[1]+5 0x11
        p0: load a[4]+5
        p0: store a[4] 0x22
        p1: write f 4096 data[0]+3 600
        p0: read f 4090 b[0]+4000 8
        p0: map b 2 rw shared m
        p0: read f 4090 b[0]+4090 17
        p1: truncate f 5000
        p0: load a[4]
        p0: load a[5]
        p0: unlink f
        p1: unlink f
        p0: sync a[0..3]
        """,
    "a handler's stack": """
        p0: map a 2 rw private anon
        p0: fill a[1] 0x11
        p0: fork p1
        p1: handle a[1]
        p0: load a[1]+4000
        """,
    "an empty program": "",
    "limits": """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: starve 3
        p0: sendfile f 100 g 5 17
        p0: readv f 100 a[0] a[1] 17
        p0: refuse
        p0: limit 1
        p0: map b 2 rw private anon
        p0: map b 1 rw private anon
        p0: store a[0] 0x22
        p0: fork p1
        p0: kill p1
        p0: wait p1
        """,
    "orphans": """
        p0: fork p1
        p1: fork p2
        p2: fork p3
        p1: exit 1
        p2: exit 2
        p3: map a 1 rw private anon
        p3: store a[0] 0x11
        p0: exit 0
        """,
}
KNOWN = """
    p0: map a 4 rw private anon
    p0: fill a[0] 0x11
    p0: fill a[1] 0x22
    p0: load a[2]
    p0: fork p1
    p0: fork p2
    p1: store a[0] 0x33
    """


@pytest.fixture(scope="module")
def subject() -> Iterator[MachineSubject]:
    try:
        find_emulator("x86_64")
        obtain_kernel(load_definition("linux"))
        build_agent("x86_64")
        opened = open_subject("linux")
    except RigError as error:
        pytest.skip(f"no machine to test: {error}")
    assert isinstance(opened, MachineSubject)
    yield opened
    opened.close()


def program(text: str) -> Program:
    return parse_program(text)


def test_the_programs_below_do_every_operation() -> None:
    done = {type(op) for text in PROGRAMS.values() for op in program(text).steps}

    assert done == set(OPS)


def test_an_ordinary_kernel_shows_every_level(subject: MachineSubject) -> None:
    assert subject.levels == set(Level)
    assert subject.missing == {}
    assert any(line.startswith("levels: ") for line in subject.header())


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("how", [How(), How(dense=True), How(count_faults=True, accounting=True)], ids=str)
def test_linux_conforms(subject: MachineSubject, name: str, how: How) -> None:
    runner = Runner(subject, semantics_of(subject))

    verdict = runner.run(program(PROGRAMS[name]), how)

    assert verdict.conforms, verdict.divergences
    assert verdict.trace.ending is Ending.COMPLETE
    assert verdict.trace.unreaped == 0


def test_outcomes_are_those_of_the_manual_pages(subject: MachineSubject) -> None:
    deaths = subject.execute(program(PROGRAMS["deaths of two kinds"]), How())
    accesses = subject.execute(program(PROGRAMS["protections"]), How())

    assert deaths.outcomes[-2:] == (Killed(Signal.SIGSEGV), Killed(Signal.SIGKILL))
    assert accesses.outcomes[3] == Faulted(Signal.SIGSEGV, Code.ACCERR, Address("a", 1))
    assert accesses.outcomes[-1] == Loaded(0x33)


def test_an_exit_status_comes_back_whole(subject: MachineSubject) -> None:
    trace = subject.execute(program("p0: fork p1\np1: exit 255\np0: wait p1"), How())

    assert trace.outcomes[-1] == Exited(255)


def _frame(seen: Observation, process: int, index: int) -> FrameSeen:
    frame = seen.processes[process].pages[Address("a", index).vpn].frame
    assert frame is not None
    return seen.frames[frame]


def _known(subject: MachineSubject) -> Trace:
    subject.restore()
    return subject.execute(program(KNOWN), How())


def test_refcounts_of_struct_page_are_the_holders_of_a_known_program(subject: MachineSubject) -> None:
    (seen,) = _known(subject).observations

    copied, kept, shared = _frame(seen, 1, 0), _frame(seen, 0, 0), _frame(seen, 0, 1)

    batches = [int(not (each.flags or FrameFlag(0)) & FrameFlag.LRU) for each in (copied, kept, shared)]
    assert [copied.mapcount, kept.mapcount, shared.mapcount] == [1, 2, 3]
    counts = [copied.refcount, kept.refcount, shared.refcount]
    assert counts == [1 + batches[0], 2 + batches[1], 3 + batches[2]]


def test_processes_that_share_show_one_frame_and_those_that_copied_another(subject: MachineSubject) -> None:
    (seen,) = _known(subject).observations
    frames = {
        (process, index): seen.processes[process].pages[Address("a", index).vpn].frame
        for process in range(3)
        for index in range(4)
    }

    assert frames[0, 0] == frames[2, 0] != frames[1, 0]
    assert frames[0, 1] == frames[1, 1] == frames[2, 1]
    assert frames[0, 3] is None
    zero = frames[0, 2]
    assert zero is not None
    assert (seen.frames[zero].flags or FrameFlag(0)) & FrameFlag.ZERO_PAGE


def test_two_observers_agree_on_mapcounts(subject: MachineSubject) -> None:
    client = subject.client
    probe = client.probe
    assert probe is not None
    by_struct_page = _known(subject)
    client.adopt(replace(probe, view=replace(probe.view, sources=(linux.KPAGECOUNT, linux.KPAGEFLAGS))))
    by_kpagecount = _known(subject)
    client.adopt(probe)
    client.reconfigure()

    assert _counts(by_struct_page) == _counts(by_kpagecount)
    assert max(count or 0 for count, _ in _counts(by_kpagecount)) == 3


def _counts(trace: Trace) -> list[tuple[int | None, bool]]:
    return sorted((seen.mapcount, _is_zero(seen)) for seen in trace.observations[-1].frames.values())


def _is_zero(seen: FrameSeen) -> bool:
    return bool((seen.flags or FrameFlag(0)) & FrameFlag.ZERO_PAGE)


def test_nothing_is_left_behind(subject: MachineSubject) -> None:
    trace = subject.execute(program(KNOWN), How(accounting=True))

    assert not {pfn for pfn, seen in (trace.leftover or {}).items() if (seen.flags or FrameFlag(0)) & FrameFlag.ANON}
    assert trace.before is not None
    assert trace.after is not None
    assert trace.before.page_tables == trace.after.page_tables


def test_sixteen_processes_and_every_window_fit(subject: MachineSubject) -> None:
    maps = [f"p0: map {window} 16 rw private anon\np0: fill {window}[15] 0x11" for window in "abcde"]
    forks = [f"p0: fork p{child}" for child in range(1, 16)]
    stores = [f"p{child}: store e[15] 0x{child:02x}" for child in range(1, 16)]
    runner = Runner(subject, semantics_of(subject))

    verdict = runner.run(program("\n".join([*maps, *forks, *stores])))

    assert verdict.conforms, verdict.divergences
    assert len(verdict.trace.observations[-1].processes) == 16
