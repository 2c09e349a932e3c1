"""load: read one byte of memory."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import FREE_TO_GO, REFUSED, adopt_reading, note_refusal, readings, refusal, touch
from harness.model.machine import Machine
from harness.program.ops import Access, Load
from harness.program.outcome import Loaded, Outcome


def load(machine: Machine, op: Load) -> Allowed:
    """Read one byte; an untouched page reads zero, or the file's byte.

    Source: do_user_addr_fault, handle_pte_fault: do_anonymous_page, do_read_fault.
    """
    process = machine.process(op.process)

    # CHECKS
    refused = refusal(machine, process, op.at, Access.LOAD)
    if refused is not None:
        note_refusal(machine, refused)
        return Allowed((refused,), REFUSED)

    # EFFECT
    touch(machine, process, op.at.vpn, Access.LOAD)

    # OUTCOME
    values = readings(machine, process, op.at)
    if len(values) == 1:
        return Allowed((Loaded(values[0][0]),), "the last byte stored there, or the first one")

    def adopt(outcome: Outcome) -> None:
        assert isinstance(outcome, Loaded)
        adopt_reading(machine, process, op.at, bytes([outcome.value]))

    return Allowed(tuple(Loaded(value[0]) for value in values), FREE_TO_GO, adopt)
