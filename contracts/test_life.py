"""The kernel lives, and so do its processes."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import STORE_TO_WHAT_IS_READ_ONLY_NOW
from harness.program.ops import Fork, Print, Protect, Store, Unmap
from harness.program.program import Program


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


@contract("kernel-read.sees-memory", catches=("print-reads-the-file",))
@given(program=drawn(containing=(Store, Print)))
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
