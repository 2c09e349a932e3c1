"""The kernel lives, and so do its processes."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import STORE_TO_WHAT_IS_READ_ONLY_NOW
from harness.program.ops import Fork, Print, Protect, Store, Unmap
from harness.program.program import Program
from harness.program.text import parse_program


@contract("live.no-panic", catches=("segv-panics",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p1: crash load a[1]
        p0: wait p1
        """
    )
)
def test_no_program_breaks_the_kernel(guest: Guest, program: Program) -> None:
    """No program makes the kernel panic, oops, warn, reboot, or stop answering."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="live.no-panic")


@contract("live.bounded", catches=("sole-owner-stays-readonly", "mprotect-loops"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: store a[0] 0x22
        """,
        """
        p0: map a 1 r private anon
        p0: load a[0]
        p0: store a[0] 0x22
        """,
        STORE_TO_WHAT_IS_READ_ONLY_NOW,
        containing=(Store, Fork),
    )
)
def test_every_step_ends(guest: Guest, program: Program) -> None:
    """Every step ends, within a bounded number of faults."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="live.bounded")


CANARY = parse_program(
    """
    p0: load a[0]
    p0: map a 6 rw private anon
    p0: load a[0]
    p0: store a[1] 0x11
    p0: fill a[2] 0x12
    p0: load data[0]
    p0: store data[1] 0x13
    p0: map b 2 rw shared f
    p0: store b[1] 0x14
    p0: map b[2..3] rw private g
    p0: load b[2]
    p0: map c 2 rw shared anon
    p0: store c[0] 0x15
    p0: fork p1
    p1: store a[1] 0x21
    p1: store a[3] 0x22
    p1: load bss[0]
    p1: store c[1] 0x23
    observe
    p1: exec small
    p1: store data[1] 0x24
    p1: load data[1]+1000
    p1: fork p2
    p1: exit 7
    p0: wait p1
    p2: store bss[1] 0x25
    p0: fork p3
    p0: kill p3
    p0: wait p3
    p0: store a[1] 0x31
    p0: scratch 16
    """
)
"""A little of everything that a kernel must be good for: zeroes, files and images as they are, fork, exec and the end of
processes."""


@contract("live.usable-after", catches=("teardown-frees-as-zeroed",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p1: fill a[0] 0x22
        """,
        """
        p0: exec written-data
        p0: store bss[1] 0x11
        """,
        """
        p0: map a 2 rw shared f
        p0: store a[0] 0x11
        p0: unlink f
        p0: fork p1
        """,
        """
        p0: vfork p1
        p1: exec small
        p0: threads 3
        p0: clone p2
        """,
    )
)
def test_the_canary_behaves_after_any_program(guest: Guest, program: Program) -> None:
    """After any program the canary program still behaves."""
    verdict = guest.run(program, then=CANARY)

    assert_conforms(verdict, to="live.usable-after")


USED_UP = {
    "refused forks": "p0: refuse\n" * 64,
    "starved forks": "p0: starve 1\n" * 64,
    "killed children": "p0: repeat 100 3\np0: fork p1\np0: kill p1\np0: wait p1",
    "vfork children": "p0: repeat 100 3\np0: vfork p1\np1: exit 0\np0: wait p1",
}
"""Ends that a process, or the attempt to make one, may come to, so often that what each keeps is missed after it."""

EVERYBODY = parse_program("p0: crowd 400\np0: disperse")
"""As many processes at a time as programs may have."""


@contract("live.usable-after", catches=("failed-fork-keeps-slot",))
def test_as_many_processes_fit_after_any_program(guest: Guest) -> None:
    """After any program the canary program still behaves."""
    for text in USED_UP.values():
        verdict = guest.run(parse_program(text), then=EVERYBODY)

        assert_conforms(verdict, to="live.usable-after")


@contract("live.process-survives", catches=("sigchld-kills",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p1: crash store a[1]
        p0: store a[0] 0x11
        p0: wait p1
        """
    )
)
def test_a_process_dies_of_its_program_alone(guest: Guest, program: Program) -> None:
    """A process dies of what its program says, and of nothing else."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="live.process-survives")


@contract("kernel-read.sees-memory", catches=("print-reads-the-file", "kernel-read-ignores-protection"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: protect a[1] none
        p0: print a[1] 5
        p0: write f 100 a[1] 17
        """,
        """
        p0: store data[0] 0x11
        p0: protect data[0] none
        p0: pin data[0]
        p0: protect data[0] rw
        p0: write f 4096 data[0] 100
        """,
        """
        p0: map a 2 rw private f
        p0: load a[0]
        p0: store a[0] 0x11
        p0: print a[0] 5
        p0: write g 100 a[0] 17
        p0: pin a[0]
        p0: unpin
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: print a[0] 5
        p0: print a[0] 5
        p1: write f 0 a[0] 17
        """,
        """
        p0: map a 2 rw shared anon
        p0: fork p1
        p0: print a[1] 5
        p1: store a[1] 0x22
        p0: print a[1] 5
        p0: pin a[1]
        p0: unpin
        """,
        """
        p0: map a 2 rw private anon
        p0: print a[0] 5
        p0: store a[0] 0x11
        p0: advise a[0] pageout
        p0: print a[0] 5
        p0: write f 100 a[0] 17
        """,
        containing=(Store, Print),
    )
)
def test_the_kernel_reads_what_the_process_reads(guest: Guest, program: Program) -> None:
    """What the kernel reads for a process is what the process itself would read."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="kernel-read.sees-memory")


@contract("errno.table", catches=("mprotect-forgives-holes",))
@given(program=drawn(containing=(Protect, Unmap)))
def test_system_calls_do_as_documented(guest: Guest, program: Program) -> None:
    """A system call fails with the documented errno, or does what it is documented to do."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="errno.table")
