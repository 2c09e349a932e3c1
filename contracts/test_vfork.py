"""Processes that share an address space: vfork, whose parent waits, and clone, whose parent does not."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Clone, Exec, Exit, Load, Store, Vfork
from harness.program.program import Program


@contract("vfork.shares-and-suspends", catches=("vfork-does-not-suspend", "vfork-copies"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: vfork p1
        p1: load a[0]
        p1: store a[0] 0x22
        p1: exec
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: vfork p1
        p1: store a[1] 0x22
        p1: vfork p2
        p2: store a[1] 0x33
        p2: exit 0
        p1: load a[1]
        p1: exit 0
        p0: load a[1]
        """,
        containing=(Vfork, Store, Load),
    )
)
def test_a_vfork_child_borrows_its_parents_memory(guest: Guest, program: Program) -> None:
    """A vfork child works in its parent's memory, and the parent does not run until the child execs or ends."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="vfork.shares-and-suspends")


@contract("clone-vm.shares", catches=("clone-vm-copies", "clone-vm-exit-frees", "exec-of-clone-tears-down-sharer"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p1: store a[0] 0x22
        p0: load a[0]
        p1: exit 0
        p0: store a[1] 0x33
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p0: fork p2
        p1: store a[0] 0x22
        p1: exec
        p2: load a[0]
        p0: load a[0]
        """,
        """
        p0: clone p1
        p1: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: exit 0
        p1: load a[0]
        """,
        containing=(Clone, Store, Load),
    )
)
def test_processes_of_one_address_space_see_one_memory(guest: Guest, program: Program) -> None:
    """Threads and CLONE_VM children see one address space, until they exec; the last to leave it ends it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="clone-vm.shares")


@contract("exec.drops-all", catches=("exec-of-clone-tears-down-sharer", "no-vm-drop"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: vfork p1
        p1: exec
        p0: load a[0]
        p1: load a[0]
        p1: exit 0
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: clone p1
        p0: exec
        p1: exec
        observe
        """,
        containing=(Vfork, Exec),
    )
)
def test_exec_leaves_a_shared_address_space_to_the_others(guest: Guest, program: Program) -> None:
    """Exec drops the old address space whole, and nothing of it is visible to the new image."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.drops-all")


@contract("exit.drops-all", catches=("clone-vm-exit-frees",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: clone p2
        p1: exit 0
        p2: store a[1] 0x22
        p2: exit 0
        p0: store a[0] 0x33
        """,
        containing=(Clone, Store, Exit),
    )
)
def test_the_last_exit_drops_a_shared_address_space(guest: Guest, program: Program) -> None:
    """Exit drops each reference that the address space held, frees each frame that nobody holds, once."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exit.drops-all")
