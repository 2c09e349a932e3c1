"""ask: a system call that stores an answer which is known beforehand."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.kernel_access import kernel_store
from harness.model.machine import Machine
from harness.program.ops import ANSWERS, Ask
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "getcwd(2), sigprocmask(2), getitimer(2): on success")
_EFAULT = Allowed((Failed("EFAULT"),), "getcwd(2), sigprocmask(2), getitimer(2), EFAULT: an invalid address")


def ask(machine: Machine, op: Ask) -> Allowed:
    """Store the answer, which is a property of the process that no operation changes.

    Source: getcwd(2), sigprocmask(2), getitimer(2); sys_getcwd, sys_rt_sigprocmask, put_itimerval: copy_to_user.
    """
    process = machine.process(op.process)
    answer = ANSWERS[op.query]

    # CHECKS
    # none of its own: the copy meets what may not be stored to.

    # EFFECT
    done = kernel_store(machine, process, op.at, answer)

    # OUTCOME
    return _DONE if done == len(answer) else _EFAULT
