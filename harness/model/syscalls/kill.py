"""kill: kill(2) with SIGKILL, by which one process ends another."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.lifecycle import end_process
from harness.model.machine import Machine
from harness.program.ops import Kill
from harness.program.outcome import Done, Killed, Signal

_DONE = Allowed((Done(),), "kill(2): on success; signal(7): SIGKILL cannot be caught, blocked or ignored")


def kill(machine: Machine, op: Kill) -> Allowed:
    """End another process, wherever it sleeps: it drops its memory as if it had exited, and its status tells the signal.

    Of processes that share an address space the others go on in it: they are no threads of one process.

    Source: kill(2); get_signal, do_group_exit; complete_signal, which wakes even those who wait for nothing else.
    """
    machine.process(op.process)
    victim = machine.process(op.victim)

    # CHECKS
    # none: the agent is root, and whom it names lives.

    # EFFECT
    end_process(machine, victim, Killed(Signal.SIGKILL))
    machine.reach["kill"] += 1

    # OUTCOME
    return _DONE
