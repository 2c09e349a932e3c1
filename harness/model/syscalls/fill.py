"""fill: write a whole page of memory, upwards."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import REFUSED, note_refusal, refusal, touch
from harness.model.machine import Machine
from harness.program.ops import Access, Fill
from harness.program.outcome import Done
from harness.program.units import PAGE_SIZE

_DONE = Allowed((Done(),), "an allowed access always completes")


def fill(machine: Machine, op: Fill) -> Allowed:
    """Write all 4,096 bytes. A forbidden page faults at its first byte, and nothing is written.

    Source: as `store`; the first byte takes the fault, the others find the entry writable.
    """
    process = machine.process(op.process)

    # CHECKS
    refused = refusal(machine, process, op.at, Access.STORE)
    if refused is not None:
        note_refusal(machine, refused)
        return Allowed((refused,), REFUSED)

    # EFFECT
    touch(machine, process, op.at.vpn, Access.STORE).write(0, bytes((op.value,)) * PAGE_SIZE)

    # OUTCOME
    return _DONE
