"""threads: clone(2) with CLONE_THREAD, for idle threads that live as long as their process runs its image."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Threads
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "clone(2), CLONE_THREAD: the threads share all memory of their process")


def threads(machine: Machine, op: Threads) -> Allowed:
    """Let more threads hold the address space of the process; no page and no count of a frame changes.

    What CLONE_VM alone shares (see `vfork`) a thread shares too. What CLONE_THREAD adds is how the sharing ends: exit,
    death by a signal and exec end all other threads first, each of which lets go of the address space once. So here
    nothing is noted: for memory a process with threads is a process.

    Source: clone(2); execve(2), "all threads other than the calling thread are destroyed"; exit_group(2);
    copy_mm (mmget), de_thread, zap_other_threads, exit_mm.
    """
    machine.process(op.process)

    # CHECKS
    # none: the agent is far from every limit.

    # EFFECT
    machine.reach["threads"] += 1

    # OUTCOME
    return _DONE
