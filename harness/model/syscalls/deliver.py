"""deliver: a store of the ring into its fixed buffer, which asks no page table any more."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Deliver
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "io_uring_enter(2), IORING_OP_READ_FIXED: the number of bytes read")
_EFAULT = Allowed((Failed("EFAULT"),), "io_uring_enter(2), EFAULT: the range is not inside a fixed buffer")


def deliver(machine: Machine, op: Deliver) -> Allowed:
    """Store one byte into the frame that was registered, wherever it is mapped now, and by whomever it is asked for.

    Source: io_uring_enter(2); io_import_fixed, which compares addresses with those of the registration.
    """
    machine.process(op.process)

    # CHECKS
    if machine.fixed is None or machine.fixed.vpn != op.at.vpn:
        return _EFAULT

    # EFFECT
    machine.fixed.frame.write(op.at.offset, bytes((op.value,)))
    machine.reach["deliver"] += 1

    # OUTCOME
    return _DONE
