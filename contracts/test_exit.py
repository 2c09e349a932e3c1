"""Exit: the end of an address space, and of a process."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Clone, Crash, Exit, Fork, Handover, Kill, Load, Reap, Store, Threads, Wait
from harness.program.program import Program


@contract("exit.drops-all", catches=("no-vm-drop", "dec-only-teardown", "zombie-keeps-space"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: exit 0
        """,
        containing=(Store, Fork, Exit),
    )
)
def test_exit_drops_every_reference(guest: Guest, program: Program) -> None:
    """Exit drops each reference that the address space held, frees each frame that nobody holds, once."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exit.drops-all")


@contract("conserve.process", catches=("orphans-stay",))
@given(program=drawn(containing=(Fork, Exit, Wait)))
def test_every_process_can_be_waited_for(guest: Guest, program: Program) -> None:
    """Every process can exit and be waited for, and orphans are reaped by init."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.process")


@contract("wait.status", catches=("wait-status-wrong",))
@given(program=drawn(containing=(Fork, Crash, Wait)))
def test_the_wait_status_is_exact(guest: Guest, program: Program) -> None:
    """The wait status tells the exit code or the killing signal, exactly."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="wait.status")


@contract("exit.drops-all", catches=("kill-skips-teardown",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[1] 0x22
        p0: kill p1
        p0: store a[0] 0x33
        """,
        containing=(Store, Fork, Kill),
    )
)
def test_death_by_a_signal_drops_every_reference(guest: Guest, program: Program) -> None:
    """Exit drops each reference that the address space held, frees each frame that nobody holds, once."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exit.drops-all")


@contract("wait.status", catches=("kill-reports-sigsegv", "kill-of-zombie-tells-signal"))
@given(
    program=drawn(
        """
        p0: fork p1
        p0: kill p1
        p0: wait p1
        """,
        """
        p0: fork p1
        p0: fork p2
        p2: kill p1
        p0: reap p1 bss[0]
        """,
        """
        p0: fork p1
        p1: exit 7
        p0: kill p1
        p0: wait p1
        """,
        containing=(Fork, Kill, Wait),
    )
)
def test_the_wait_status_tells_the_signal(guest: Guest, program: Program) -> None:
    """The wait status tells the exit code or the killing signal, exactly."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="wait.status")


@contract("clone-vm.shares", catches=("kill-drops-twice", "kill-of-zombie-drops-again"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p1: store a[1] 0x22
        p0: kill p1
        p0: load a[1]
        p0: store a[0] 0x33
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p1: exit 7
        p0: kill p1
        p0: load a[0]
        """,
        containing=(Clone, Kill, Load),
    )
)
def test_the_death_of_one_leaves_a_shared_address_space_to_the_others(guest: Guest, program: Program) -> None:
    """Threads and CLONE_VM children see one address space, until they exec; the last to leave it ends it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="clone-vm.shares")


@contract("exit.drops-all", catches=("exit-forgets-threads",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: threads 3
        p1: store a[1] 0x22
        p1: exit 0
        p0: store a[0] 0x33
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: threads 1
        p0: kill p1
        p0: store a[0] 0x33
        """,
        containing=(Store, Fork, Threads, Exit),
    )
)
def test_the_end_of_a_process_drops_what_its_threads_hold(guest: Guest, program: Program) -> None:
    """Exit drops each reference that the address space held, frees each frame that nobody holds, once."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exit.drops-all")


@contract("conserve.process", catches=("reap-efault-keeps-zombie",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p1: exit 7
        p0: reap p1 a[1]
        p0: wait p1
        """,
        """
        p0: fork p1
        p1: crash store a[3]
        p0: reap p1 text[0]
        p0: reap p1 bss[0]
        p0: load bss[0]
        """,
        containing=(Fork, Exit, Reap, Wait),
    )
)
def test_a_child_is_waited_for_once(guest: Guest, program: Program) -> None:
    """Every process can exit and be waited for, and orphans are reaped by init."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.process")


@contract("clone-vm.shares", catches=("leader-exit-ends-process", "leader-exit-drops-space", "thread-exit-drops-twice"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: handover exits
        p0: load a[0]
        p0: store a[1] 0x22
        p0: fork p1
        p1: store a[0] 0x33
        p1: handover exits
        p1: load a[0]
        p1: exit 7
        p0: wait p1
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p1: handover exits
        p1: store a[1] 0x22
        p1: exit 0
        p0: load a[1]
        p0: store a[0] 0x33
        """,
        """
        p0: map a 1 rw private anon
        p0: clone p1
        p1: store a[0] 0x11
        p1: handover sleeps
        p0: kill p1
        p0: load a[0]
        p0: store a[0] 0x22
        """,
        containing=(Handover, Store, Load),
    )
)
def test_the_exit_of_a_thread_leaves_the_process_to_the_others(guest: Guest, program: Program) -> None:
    """Threads and CLONE_VM children see one address space, until they exec; the last to leave it ends it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="clone-vm.shares")


@contract("exit.drops-all", catches=("leader-exit-keeps-hold",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: handover exits
        p1: store a[1] 0x22
        p1: exit 0
        p0: store a[0] 0x33
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: threads 2
        p1: handover sleeps
        p0: kill p1
        p0: store a[0] 0x33
        """,
        containing=(Handover, Store, Fork, Exit),
    )
)
def test_the_end_of_the_last_thread_drops_all(guest: Guest, program: Program) -> None:
    """Exit drops each reference that the address space held, frees each frame that nobody holds, once."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exit.drops-all")
