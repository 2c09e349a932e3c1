"""exit: the process ends of its own will."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.lifecycle import end_process
from harness.model.machine import Machine
from harness.program.ops import Exit
from harness.program.outcome import Exited, Gone

_GONE = Allowed((Gone(),), "_exit(2): it does not return")


def exit_(machine: Machine, op: Exit) -> Allowed:
    """Drop all memory; keep the status for the parent's wait.

    Source: _exit(2); do_exit, exit_mm, exit_notify.
    """
    process = machine.process(op.process)

    # CHECKS
    # none: nothing can keep a process from ending.

    # EFFECT
    end_process(machine, process, Exited(op.status))

    # OUTCOME
    return _GONE
