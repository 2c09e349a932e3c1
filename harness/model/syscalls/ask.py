"""ask: a system call that stores an answer which is known beforehand."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.kernel_access import kernel_store
from harness.model.machine import Machine
from harness.program.ops import ANSWERS, Ask, Query
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "getcwd(2), sigprocmask(2), getitimer(2), uname(2): on success")
_EFAULT = Allowed((Failed("EFAULT"),), "getcwd(2), sigprocmask(2), getitimer(2), uname(2), EFAULT: an invalid address")
_ERANGE = Allowed((Failed("ERANGE"),), "getcwd(2), ERANGE: size is less than the length of the pathname, its zero included")


def ask(machine: Machine, op: Ask) -> Allowed:
    """Store the answer, which is a property of the process that no operation changes.

    Source: getcwd(2), sigprocmask(2), getitimer(2), uname(2); sys_getcwd, sys_rt_sigprocmask, put_itimerval, sys_newuname:
    copy_to_user.
    """
    process = machine.process(op.process)
    answer = machine.semantics.uname if op.query is Query.UNAME else ANSWERS[op.query]

    # CHECKS
    if op.query is Query.CWD_SHORT:
        return _ERANGE  # the length is compared before anything is stored, wherever that was to go

    # EFFECT
    done = kernel_store(machine, process, op.at, answer)

    # OUTCOME
    return _DONE if done == len(answer) else _EFAULT
