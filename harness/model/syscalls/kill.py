"""kill: kill(2) with SIGKILL, by which one process ends another."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.lifecycle import end_process
from harness.model.machine import Machine
from harness.model.process import State
from harness.program.ops import Kill
from harness.program.outcome import Done, Failed, Killed, Signal

_DONE = Allowed((Done(),), "kill(2): on success; signal(7): SIGKILL cannot be caught, blocked or ignored")
_ZOMBIE = Allowed((Done(),), "kill(2), ESRCH: an existing process might be a zombie, which has not yet been waited for")
_ESRCH = Allowed((Failed("ESRCH"),), "kill(2), ESRCH: the target process does not exist")


def kill(machine: Machine, op: Kill) -> Allowed:
    """End another process, wherever it sleeps: it drops its memory as if it had exited, and its status tells the signal.

    Of processes that share an address space the others go on in it: they are no threads of one process. One that has
    ended already can be sent a signal until it is waited for, and does not notice.

    Source: kill(2); POSIX, kill(), RATIONALE, on inactive processes; get_signal, do_group_exit; complete_signal, which
    wakes even those who wait for nothing else.
    """
    machine.process(op.process)
    victim = machine.processes[op.victim]

    # CHECKS
    if victim.state is State.REAPED:
        machine.reach["kill.esrch"] += 1
        return _ESRCH
    if victim.state is State.ZOMBIE:
        machine.reach["kill.zombie"] += 1
        return _ZOMBIE

    # EFFECT
    end_process(machine, victim, Killed(Signal.SIGKILL))
    machine.reach["kill"] += 1

    # OUTCOME
    return _DONE
