"""wait: wait4(2) for a child that has ended."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.lifecycle import ended_child, forget_zombie
from harness.model.machine import Machine
from harness.program.ops import Wait
from harness.program.outcome import Failed

_ECHILD = Allowed((Failed("ECHILD"),), "wait(2), ECHILD: no such child that was not waited for")


def wait(machine: Machine, op: Wait) -> Allowed:
    """Learn how the child ended, and let go of what is left of it.

    Raises ValueError where the child lives still: the wait would block, and no program says so.

    Source: wait(2); do_wait, wait_task_zombie, release_task.
    """
    # CHECKS
    ended = ended_child(machine, op.process, op.child)
    if ended is None:
        return _ECHILD

    # EFFECT
    child, status = ended
    forget_zombie(machine, child)
    machine.reach["wait"] += 1

    # OUTCOME
    return Allowed((status,), "wait(2): WIFEXITED and WEXITSTATUS, or WIFSIGNALED and WTERMSIG")
