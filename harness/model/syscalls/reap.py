"""reap: wait4(2) for a child that has ended, its status stored in memory."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.kernel_access import kernel_put
from harness.model.lifecycle import ended_child, forget_zombie
from harness.model.machine import Machine
from harness.program.ops import STATUS_WORD, Reap
from harness.program.outcome import Done, Exited, Failed, Killed, Signal

_DONE = Allowed((Done(),), "wait(2): the ID of the child, whose status is in the word")
_EFAULT = Allowed((Failed("EFAULT"),), "wait(2) on a status that cannot be stored to; the child is gone all the same")
_ECHILD = Allowed((Failed("ECHILD"),), "wait(2), ECHILD: no such child that was not waited for")


def reap(machine: Machine, op: Reap) -> Allowed:
    """Let go of the child, then store how it ended. Where the word cannot be stored, the child is gone nevertheless.

    Raises ValueError where the child lives still: the call would block, and no program says so.

    Source: wait(2); kernel_wait4, whose put_user comes after do_wait has released the child.
    """
    process = machine.process(op.process)

    # CHECKS
    ended = ended_child(machine, op.process, op.child)
    if ended is None:
        return _ECHILD

    # EFFECT
    child, status = ended
    forget_zombie(machine, child)
    stored = kernel_put(machine, process, op.at, status_word(status))

    # OUTCOME
    return _DONE if stored else _EFAULT


def status_word(status: Exited | Killed) -> bytes:
    """Give the word of a wait status: the exit code in bits 8 to 15, or the signal in bits 0 to 6. Source: wait(2)."""
    if isinstance(status, Exited):
        number = status.status << 8
    else:
        number = status.signal.value if isinstance(status.signal, Signal) else status.signal
    return number.to_bytes(STATUS_WORD, "little")
