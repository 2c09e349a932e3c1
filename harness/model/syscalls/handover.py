"""handover: another thread than the first does what a process does from now on."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Handover, Leader
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "clone(2), CLONE_THREAD: the new thread is in the same thread group, and shares its memory")


def handover(machine: Machine, op: Handover) -> Allowed:
    """Let a new thread go on where the old one stops; the process is the same, and so is its memory.

    Where the old thread exits, it drops its own hold of the address space, and no more: exit(2) is of a thread, and the
    process, its number, its children and its memory stay until the last thread is gone. Where it sleeps, exit_group, a
    fatal signal and exec end it with the others, and after exec the thread that called it has the number of the process.
    So for all that follows it makes no difference which thread does it.

    Source: exit(2); pthreads(7); execve(2), "all threads other than the calling thread are destroyed"; do_exit, exit_mm,
    delay_group_leader, find_child_reaper and find_alive_thread for the children; de_thread.
    """
    machine.process(op.process)

    # CHECKS
    # none: the agent is far from every limit.

    # EFFECT
    machine.reach["handover.exits" if op.leader is Leader.EXITS else "handover.sleeps"] += 1

    # OUTCOME
    return _DONE
