"""What the sound toy kernel does, in programs whose `=>` lines are what is expected."""

from __future__ import annotations

import textwrap

import pytest

from harness.model_guest import ModelGuest
from harness.program.image import image_page
from harness.program.levels import Level
from harness.program.text import format_op, format_outcome, parse_program
from harness.program.trace import (
    ZEROES,
    Ending,
    FrameFlag,
    FrameSeen,
    Observation,
    PageSeen,
    Trace,
    VmaSeen,
    runs_of,
)
from harness.program.units import Address, Prot
from harness.subject import How, Subject

SCENARIOS = {
    "a store after fork is private to its writer": """
        p0: map a 4 rw private anon     => done
        p0: store a[0] 0x11             => done
        p0: fork p1                     => done
        p0: store a[0] 0x22             => done
        p1: load a[0]                   => 0x11
        p1: store a[0] 0x33             => done
        p1: fork p2                     => done
        p2: load a[0]                   => 0x33
        p2: store a[0] 0x44             => done
        p1: load a[0]                   => 0x33
        p0: load a[0]                   => 0x22
    """,
    "fresh memory reads zero, and the zero page stays zero": """
        p0: map a 2 rw private anon     => done
        p0: load a[0]                   => 0x00
        p0: store a[0] 0x11             => done
        p0: load a[1]+4095              => 0x00
        p0: load bss[0]                 => 0x00
        p0: load a[0]                   => 0x11
    """,
    "a forbidden access is signalled with its code and place": """
        p0: load a[0]+7                 => SIGSEGV MAPERR at a[0]+7
        p0: map a 2 r private anon      => done
        p0: store a[0]+9 0x11           => SIGSEGV ACCERR at a[0]+9
        p0: fill a[1] 0x11              => SIGSEGV ACCERR at a[1]
        p0: protect a[0] none           => done
        p0: load a[0]                   => SIGSEGV ACCERR at a[0]
        p0: load a[1]                   => 0x00
        p0: store text[0] 0x11          => SIGSEGV ACCERR at text[0]
        p0: unmap a[1]                  => done
        p0: load a[1]                   => SIGSEGV MAPERR at a[1]
    """,
    "any right makes a page readable": """
        p0: map a 1 w private anon      => done
        p0: load a[0]                   => 0x00
        p0: store a[0] 0x11             => done
        p0: load a[0]                   => 0x11
        p0: protect a[0] x              => done
        p0: load a[0]                   => 0x11
        p0: store a[0] 0x22             => SIGSEGV ACCERR at a[0]
    """,
    "protection taken away and given back keeps the bytes": """
        p0: map a 1 rw private anon     => done
        p0: store a[0] 0x11             => done
        p0: protect a[0] none           => done
        p0: fork p1                     => done
        p1: load a[0]                   => SIGSEGV ACCERR at a[0]
        p0: protect a[0] rw             => done
        p0: store a[0] 0x22             => done
        p1: protect a[0] r              => done
        p1: load a[0]                   => 0x11
        p1: store a[0] 0x33             => SIGSEGV ACCERR at a[0]
    """,
    "protect over a hole changes the pages before the hole": """
        p0: map a[0..1] rw private anon => done
        p0: map a[3] rw private anon    => done
        p0: protect a[0..3] r           => ENOMEM
        p0: store a[1] 0x11             => SIGSEGV ACCERR at a[1]
        p0: store a[3] 0x11             => done
        p0: protect a[2..3] r           => ENOMEM
        p0: store a[3] 0x22             => done
    """,
    "the image is as in the file after every exec": """
        p0: load data[1]+512            => 0x89
        p0: store data[1]+512 0x11      => done
        p0: load data[1]+511            => 0x88
        p0: store bss[0] 0x11           => done
        p0: unmap text[0]               => done
        p0: exec                        => done
        p0: load data[1]+512            => 0x89
        p0: load bss[0]                 => 0x00
        p0: load text[0]                => 0xc0
        p0: load text[1]+4095           => 0xcf
    """,
    "a split file mapping keeps its offsets": """
        p0: unmap data[1]               => done
        p0: protect data[3] r           => done
        p0: load data[0]                => 0x80
        p0: load data[2]                => 0x90
        p0: load data[3]                => 0x98
    """,
    "a private store to a file page stays out of the file": """
        p0: load data[0]                => 0x80
        p0: fork p1                     => done
        p0: store data[0] 0x11          => done
        p1: load data[0]                => 0x80
        p1: store data[1] 0x22          => done
        p0: load data[1]                => 0x88
    """,
    "text that is made writable is copied too": """
        p0: protect text[0] rw          => done
        p0: store text[0] 0x11          => done
        p0: load text[0]                => 0x11
        p0: exec                        => done
        p0: load text[0]                => 0xc0
    """,
    "print writes what a load would read, or nothing": """
        p0: map a 1 rw private anon     => done
        p0: store a[0]+1 0x11           => done
        p0: print a[0] 3                => wrote 3
        p0: print data[0]+511 2         => wrote 2
        p0: protect a[0] none           => done
        p0: print a[0] 3                => EFAULT
        p0: print b[0] 1                => EFAULT
    """,
    "a wait tells how the child ended": """
        p0: fork p1                     => done
        p0: fork p2                     => done
        p0: fork p3                     => done
        p1: exit 255                    => gone
        p2: crash store text[0]         => gone
        p3: crash load text[0]          => gone
        p0: wait p3                     => killed SIGKILL
        p0: wait p1                     => exited 255
        p0: wait p2                     => killed SIGSEGV
    """,
    "a fixed map replaces what was there": """
        p0: map a 4 rw private anon     => done
        p0: fill a[1] 0x11              => done
        p0: fill a[2] 0x22              => done
        p0: map a[1] rw private anon    => done
        p0: load a[1]                   => 0x00
        p0: load a[2]+4095              => 0x22
        p0: map data[0] r private anon  => done
        p0: load data[0]                => 0x00
    """,
    "an orphan lives on": """
        p0: fork p1                     => done
        p1: fork p2                     => done
        p1: exit 1                      => gone
        p2: store bss[0] 0x11           => done
        p0: wait p1                     => exited 1
        p2: load bss[0]                 => 0x11
    """,
}


def execute(text: str, how: How | None = None) -> Trace:
    return ModelGuest().execute(parse_program(text), how or How())


def last(text: str) -> Observation:
    return execute(text).observations[-1]


def page(observation: Observation, process: int, window: str, index: int) -> PageSeen:
    return observation.processes[process].pages[Address(window, index).vpn]


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    text = textwrap.dedent(SCENARIOS[name]).strip()
    program = parse_program(text)

    trace = ModelGuest().execute(program, How())

    said = [format_outcome(outcome) for outcome in trace.outcomes]
    assert [f"{format_op(op)} => {what}" for op, what in zip(program.steps, said, strict=True)] == [
        f"{format_op(op)} => {line.partition('=>')[2].strip()}"
        for op, line in zip(program.steps, text.splitlines(), strict=True)
    ]
    assert (trace.ending, trace.leftover, trace.unreaped) == (Ending.COMPLETE, {}, 0)


def test_a_load_maps_the_zero_page_and_a_store_a_frame_of_its_own() -> None:
    seen = last("p0: map a 3 rw private anon\np0: load a[0]\np0: store a[1] 0x11")

    zero, own, untouched = (page(seen, 0, "a", index) for index in range(3))
    assert zero.frame is not None
    assert own.frame is not None
    assert seen.frames[zero.frame].flags == FrameFlag.ZERO_PAGE
    assert seen.frames[own.frame] == FrameSeen(1, 1, FrameFlag.LRU | FrameFlag.ANON)
    assert (zero.content, own.content) == (ZEROES, ((0x11, 1), (0, 4095)))
    assert untouched == PageSeen(present=False)


def test_a_file_page_is_counted_once_for_the_cache_and_once_for_each_mapper() -> None:
    seen = last("p0: load data[2]\np0: fork p1\np1: load data[3]")

    shared = page(seen, 0, "data", 2)
    assert shared.frame is not None
    assert shared == page(seen, 1, "data", 2)
    assert shared.content == runs_of(image_page("data", 2))
    assert seen.frames[shared.frame] == FrameSeen(mapcount=2, refcount=3, flags=FrameFlag.LRU)
    assert page(seen, 0, "data", 3).present is False


def test_fork_shares_frames_and_a_store_parts_them() -> None:
    trace = execute("p0: map a 2 rw private anon\np0: store a[0] 1\np0: store a[1] 1\np0: fork p1\np1: store a[0] 2")

    seen = trace.observations[-1]
    both = page(seen, 0, "a", 1).frame
    assert both is not None
    assert page(seen, 1, "a", 1).frame == both
    assert page(seen, 0, "a", 0).frame != page(seen, 1, "a", 0).frame
    assert (seen.frames[both].mapcount, seen.frames[both].refcount) == (2, 2)


def test_the_last_owner_keeps_its_frame_when_it_stores() -> None:
    trace = execute(
        """
        p0: map a 1 rw private anon
        p0: store a[0] 1
        p0: fork p1
        p1: store a[0] 2
        observe
        p0: store a[0] 3
        """,
        How(count_faults=True),
    )

    before, after = trace.observations
    assert page(after, 0, "a", 0).frame == page(before, 0, "a", 0).frame
    assert trace.faults == (0, 1, 0, 1, None, 1)


def test_a_page_protected_away_stays_resident_and_unread() -> None:
    seen = last("p0: map a 1 rw private anon\np0: store a[0] 1\np0: protect a[0] none")

    hidden = page(seen, 0, "a", 0)
    assert hidden.present
    assert hidden.frame is not None
    assert hidden.content is None


def test_vmas_are_merged_and_clipped_to_the_windows_of_the_program() -> None:
    seen = last(
        """
        p0: map a 16 rw private anon
        p0: map b 2 rw private anon
        p0: protect a[1] r
        p0: protect a[1] rw
        """
    )

    a, b = Address("a", 0).vpn, Address("b", 0).vpn
    rw = Prot.R | Prot.W
    assert seen.processes[0].vmas == (VmaSeen(a, 16, rw), VmaSeen(b, 2, rw))


def test_file_offsets_of_vmas_go_on_behind_a_split() -> None:
    seen = last("p0: unmap data[1]")

    offsets = [(vma.npages, vma.pgoff) for vma in seen.processes[0].vmas or ()]
    assert offsets == [(1, 3), (2, 5)]


def test_observations_come_where_the_program_says_and_once_at_the_end() -> None:
    text = "observe\np0: load data[0]\np0: load data[1]"

    sparse = execute(text)
    dense = execute(text, How(dense=True))

    assert [seen.after for seen in sparse.observations] == [1, 3]
    assert [seen.after for seen in dense.observations] == [1, 2, 3]
    assert [seen.after for seen in execute("").observations] == [0]


def test_what_was_not_asked_for_is_not_reported() -> None:
    trace = execute("p0: load data[0]")

    assert (trace.faults, trace.before, trace.after) == (None, None, None)


def test_output_is_kept_for_each_process() -> None:
    trace = execute("p0: fork p1\np0: print data[0] 2\np1: print text[0] 1\np1: exit 0")

    assert trace.outputs == {0: b"\x80\x80", 1: b"\xc0"}


def test_a_program_that_runs_out_of_memory_is_lost_at_the_step() -> None:
    guest = ModelGuest(total_frames=20)
    program = parse_program("p0: map a 16 rw private anon\n" + "\n".join(f"p0: store a[{i}] 1" for i in range(16)))

    trace = guest.execute(program, How(accounting=True))

    assert trace.ending is Ending.LOST
    assert format_outcome(trace.outcomes[-1]) == "LOST (killed: out of memory)"
    assert len(trace.outcomes) < len(program)
    assert trace.after == trace.before


def test_it_is_a_subject_that_shows_all_but_pte_bits() -> None:
    guest: Subject = ModelGuest(["cow-shares"])

    guest.close()

    assert guest.levels == frozenset(Level) - {Level.PTE_BITS}
    assert (guest.name, guest.semantics) == ("model", "model")
    assert guest.header() == ["guest: model (in-process toy kernel), planted faults: cow-shares"]
