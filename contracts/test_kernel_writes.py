"""Stores by the kernel on behalf of a process, past its protection, and pages that the kernel holds on to."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import (
    Ask,
    Deliver,
    Fix,
    Force,
    Fork,
    Handle,
    Peek,
    Pin,
    Poke,
    Protect,
    Readv,
    Reap,
    Receive,
    Store,
    Unpin,
)
from harness.program.program import Program


@contract("kernel-write.breaks-cow", catches=("kernel-write-ignores-cow",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: receive pipe a[0] 1 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: fork p1
        p0: receive socket a[0]+4090 17 0x33
        p1: load a[1]
        """,
        """
        p0: map a 1 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p1: ask cwd a[0]+7
        p1: ask itimer a[0]+4060
        p0: load a[0]+8
        """,
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: fork p1
        p1: ask uname a[0]+3901
        p1: load a[0]+3901
        p0: load a[1]
        p0: ask uname a[1]+3
        """,
        containing=(Receive, Ask, Fork),
    )
)
def test_a_store_by_the_kernel_stays_out_of_other_processes(guest: Guest, program: Program) -> None:
    """A store by the kernel for a process shows in that process alone, as its own would."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-write.breaks-cow")


@contract("kernel-write.breaks-cow", catches=("reap-status-ignores-cow",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p0: fork p2
        p1: exit 7
        p0: reap p1 a[0]+3
        p2: load a[0]+3
        """,
        containing=(Reap, Fork),
    )
)
def test_a_wait_status_stays_out_of_other_processes(guest: Guest, program: Program) -> None:
    """A store by the kernel for a process shows in that process alone, as its own would."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-write.breaks-cow")


@contract("kernel-write.breaks-cow", catches=("signal-frame-ignores-cow",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: fork p1
        p1: handle a[1]
        p0: wait p1
        """,
        """
        p0: map a 2 rw private anon
        p0: fill a[1] 0x11
        p0: fork p1
        p0: protect a[1] r
        p0: fork p2
        p2: handle a[1]
        p1: load a[1]
        """,
        containing=(Handle, Fork),
    )
)
def test_what_a_handler_finds_on_its_stack_stays_out_of_other_processes(guest: Guest, program: Program) -> None:
    """A store by the kernel for a process shows in that process alone, as its own would."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-write.breaks-cow")


@contract("kernel-write.respects-protection", catches=("kernel-write-ignores-protection",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: protect a[1] r
        p0: receive pipe a[0]+4090 17 0x33
        p0: ask sigmask a[1]+5
        """,
        """
        p0: map a 1 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p0: protect a[0] none
        p1: exit 7
        p0: reap p1 a[0]
        p0: protect a[0] rw
        """,
        containing=(Receive, Protect),
    )
)
def test_the_kernel_stores_only_where_the_process_may(guest: Guest, program: Program) -> None:
    """Where a process may not store, the kernel does not for it: it says EFAULT, and what is refused does not change."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-write.respects-protection")


@contract("kernel-write.exact-bytes", catches=("kernel-write-overruns", "readv-goes-on"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: receive pipe a[0]+1 13 0x33
        p0: receive socket a[0]+4095 2 0x44
        p0: ask cwd a[0]+4093
        p0: ask uname a[0]+3901
        """,
        """
        p0: map a 3 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: fill a[2] 0x33
        p0: protect a[1] r
        p0: readv f 4090 a[0]+4090 a[2]+7 13
        p0: readv f 100 a[0]+1 a[0]+5 3
        p0: readv f 13200 a[0]+9 a[2]+1 64
        """,
        containing=(Receive, Ask, Readv),
    )
)
def test_the_kernel_stores_no_byte_too_many(guest: Guest, program: Program) -> None:
    """A store by the kernel writes the documented bytes, and not one more."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-write.exact-bytes")


@contract(
    "foll-force.private-only",
    catches=("force-writes-shared-frame", "force-grants-write"),
)
@given(
    program=drawn(
        """
        p0: fork p1
        p0: load text[0]+1
        p0: force text[0]+1 0x22
        p1: load text[0]+1
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] r
        p0: fork p1
        p1: force a[0] 0x22
        p0: load a[0]
        """,
        """
        p0: force data[1]+9 0x22
        p0: load data[1]+9
        p0: exec
        p0: load data[1]+9
        """,
        """
        p0: map a 3 r private anon
        p0: force a[0] 0x22
        p0: store a[0] 0x33
        p0: load a[1]
        p0: force a[1] 0x44
        p0: store a[1] 0x55
        p0: load a[0]
        """,
        """
        p0: map a 1 r private f
        p0: load a[0]
        p0: force a[0] 0x22
        p0: store a[0] 0x33
        p0: load a[0]
        """,
        """
        p0: map a 1 r shared f
        p0: force a[0] 0x22
        p0: load a[0]
        """,
        containing=(Force, Fork),
    )
)
def test_a_forced_write_stays_in_private_memory(guest: Guest, program: Program) -> None:
    """A write through /proc/PID/mem to private memory reaches neither the file nor any other mapping."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="foll-force.private-only")


@contract("foll-force.private-only", catches=("mem-write-breaks-cow-once", "mem-write-wraps"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: fork p1
        p0: force a[0]+4090 0x22 17
        p1: load a[1]
        p0: load a[1]+10
        """,
        """
        p0: map a[0] rw private anon
        p0: map a[1] r private f
        p0: load a[1]
        p0: force a[0]+4094 0x22 64
        p0: load a[0]
        p0: unmap a[1]
        p0: force a[0]+4094 0x33 3
        p0: load a[0]+4095
        """,
        """
        p0: map a[0] rw private anon
        p0: map a[1] rw private f+1
        p0: load a[1]
        p0: fork p1
        p1: force a[0]+4095 0x22 9
        p0: load a[1]
        p1: store a[1]+1 0x33
        p1: load a[1]+1
        p0: read f 4096 a[0] 9
        """,
        containing=(Force, Fork),
    )
)
def test_a_forced_write_over_the_end_of_a_page_stays_in_private_memory(guest: Guest, program: Program) -> None:
    """A write through /proc/PID/mem to private memory reaches neither the file nor any other mapping."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="foll-force.private-only")


@contract("remote.right-memory", catches=("poke-writes-caller", "poke-asks-caller"))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: poke p1 a[0] 0x22
        p0: load a[0]
        p1: load a[0]
        """,
        """
        p0: fork p1
        p1: map a 2 rw private anon
        p0: poke p1 a[0]+4090 0x22 17
        p1: load a[0]+4095
        p1: load a[1]+3
        """,
        """
        p0: map a 1 rw private f
        p0: fork p1
        p1: protect a[0] r
        p1: poke p0 a[0] 0x22
        p0: load a[0]
        p1: load a[0]
        p0: store a[0] 0x33
        p1: poke p0 a[0]+1 0x44
        p0: load a[0]+1
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: fork p2
        p2: poke p1 a[0] 0x22
        p1: poke p2 a[0] 0x33
        p0: load a[0]
        p1: load a[0]
        p2: load a[0]
        """,
        """
        p0: fork p1
        p1: exec
        p0: poke p1 data[1]+9 0x22
        p0: poke p1 text[0]+1 0x44
        p0: load data[1]+9
        p1: load data[1]+9
        p1: fork p2
        p2: load text[0]+1
        """,
        """
        p0: map a 2 rw shared anon
        p0: fork p1
        p1: unmap a[0]
        p0: poke p1 a[0] 0x22
        p0: poke p1 a[1] 0x33
        p0: load a[1]
        """,
        containing=(Poke, Fork),
    )
)
def test_what_is_written_to_another_process_is_there_and_nowhere_else(guest: Guest, program: Program) -> None:
    """What is written into the memory of another process is there when its turn comes, and in nobody else's memory."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="remote.right-memory")


@contract("foll-force.reads", catches=("mem-read-asks-protection", "mem-read-takes-file", "mem-read-ends-at-page"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0]+4095 0x11
        p0: store a[1] 0x22
        p0: protect a[0] none
        p0: peek a[0]+4090 17
        p0: load a[0]
        """,
        """
        p0: map a 1 rw private f
        p0: store a[0]+1 0x11
        p0: fork p1
        p1: store a[0]+2 0x22
        p0: peek a[0] 8
        p1: peek a[0] 8
        """,
        """
        p0: map a[0] none private anon
        p0: peek a[0] 1
        p0: map a[1] rw private anon
        p0: store a[1] 0x11
        p0: peek a[0]+4095 2
        p0: peek a[1]+4090 17
        """,
        containing=(Peek, Store, Protect),
    )
)
def test_a_forced_read_sees_all_memory(guest: Guest, program: Program) -> None:
    """A read through /proc/PID/mem gives the bytes of memory, whatever its protection, up to a page that is not there."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="foll-force.reads")


@contract("cow.pinned-is-not-exclusive", catches=("cow-ignores-pins", "pin-not-counted"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: pin a[0]
        p1: unmap a[0]
        p0: store a[0] 0x22
        p1: unpin
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: pin a[0]
        p0: fork p1
        p0: store a[0] 0x22
        p0: unpin
        p1: load a[0]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: pin a[0]
        p0: unmap a[0]
        p0: store a[1] 0x22
        p0: store a[2] 0x33
        p0: unpin
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: pin a[0]
        p1: exec
        p0: receive pipe a[0] 3 0x22
        p1: unpin
        """,
        containing=(Pin, Unpin, Fork),
    )
)
def test_a_pinned_frame_is_left_alone(guest: Guest, program: Program) -> None:
    """A frame that a pipe still holds is not written to by those who did not pin it, and the pipe keeps it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.pinned-is-not-exclusive")


@contract(
    "cow.fixed-buffer-stays",
    catches=("fork-shares-fixed-buffer", "cow-copies-fixed-buffer", "fixed-buffer-not-counted"),
)
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fix a[0]
        p0: fork p1
        p0: store a[0] 0x11
        p0: deliver a[0]+1 0x22
        p0: load a[0]+1
        """,
        """
        p0: map a 1 rw private anon
        p0: fix a[0]
        p0: protect a[0] r
        p0: protect a[0] rw
        p0: store a[0] 0x11
        p0: deliver a[0]+1 0x22
        p0: load a[0]+1
        """,
        """
        p0: map a 3 rw private anon
        p0: fix a[0]
        p0: unmap a[0]
        p0: store a[1] 0x11
        p0: store a[2] 0x11
        p0: deliver a[0]+1 0x22
        p0: load a[1]+1
        """,
        """
        p0: map a 16 rw private anon
        p0: fix a[0]
        p0: unmap a[0]
        p0: advise a[1..15] populate-write
        p0: deliver a[0]+1 0x22
        """,
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p1: fix a[0]
        p1: exec
        p0: map b 16 rw private anon fixed populate
        p1: deliver a[0]+1 0x22
        """,
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p1: fix a[0]
        p1: exit 0
        p0: map b 16 rw private anon fixed populate
        p0: deliver a[0]+1 0x22
        """,
        """
        p0: map a 1 rw private anon
        p0: fix a[0]
        p0: advise a[0] dontneed
        p0: map b 16 rw private anon fixed populate
        p0: deliver a[0]+1 0x22
        """,
        containing=(Fix, Deliver, Fork),
    )
)
def test_a_buffer_of_the_kernel_stays_its_owners(guest: Guest, program: Program) -> None:
    """A page that the kernel holds as a buffer stays its owner's: what is delivered there shows in its memory alone."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.fixed-buffer-stays")


@contract("conserve.frames", catches=("pin-leaks",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: pin a[0]
        p0: pin a[1]
        observe
        p0: exit 0
        """,
        containing=(Pin,),
    )
)
def test_a_pipe_gives_back_the_frames_in_it(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, every frame it had is free or in the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.frames")
