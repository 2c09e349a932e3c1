"""print: write(2) from memory to the process's output; the kernel reads on the process's behalf."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import kernel_refusal, readings, touch
from harness.model.machine import Machine
from harness.program.ops import Access, Print
from harness.program.outcome import Failed, Printed

_EFAULT = Allowed((Failed("EFAULT"),), "write(2), EFAULT: buf is outside the accessible address space")


def print_(machine: Machine, op: Print) -> Allowed:
    """Append bytes of one page to the output. An untouched page is faulted in as by a load.

    Source: write(2); copy_from_user, whose fault goes the way of a user's (do_user_addr_fault), and
    whose failure is EFAULT instead of a signal.
    """
    process = machine.process(op.process)

    # CHECKS
    if kernel_refusal(machine, process, op.at, Access.LOAD) is not None:
        machine.reach["print.efault"] += 1
        return _EFAULT

    # EFFECT
    touch(machine, process, op.at.vpn, Access.LOAD)
    process.say(readings(machine, process, op.at, op.length))
    machine.reach["print"] += 1

    # OUTCOME
    return Allowed((Printed(op.length),), "write(2): a pipe with room takes all")
