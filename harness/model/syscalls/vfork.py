"""vfork and clone: a child in the same address space."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.process import Process
from harness.program.ops import Clone, Vfork
from harness.program.outcome import Done

_VFORK = Allowed((Done(),), "vfork(2): the parent is suspended until the child ends or execs, and then goes on")
_CLONE = Allowed((Done(),), "clone(2), CLONE_VM: both processes run in the same memory space")


def vfork(machine: Machine, op: Vfork) -> Allowed:
    """Start a child in the parent's memory. That the parent waits is a matter of form (`Family.suspended`).

    Source: vfork(2); kernel_clone with CLONE_VFORK | CLONE_VM, wait_for_vfork_done.
    """
    _share(machine, op)
    return _VFORK


def clone(machine: Machine, op: Clone) -> Allowed:
    """Start a child in the parent's memory; both go on.

    Source: clone(2); copy_mm, which with CLONE_VM takes one more reference to the mm and copies nothing.
    """
    _share(machine, op)
    return _CLONE


def _share(machine: Machine, op: Vfork | Clone) -> None:
    parent = machine.process(op.process)

    # CHECKS
    machine.check_free(op.child)

    # EFFECT
    machine.processes[op.child] = Process(op.child, op.process, parent.memory, limit=parent.limit)
    machine.reach[op.verb] += 1

    # OUTCOME
    # the caller's
