"""load: read one byte of memory."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import note_refusal, refusal, touch
from harness.model.machine import Machine
from harness.program.ops import Access, Load
from harness.program.outcome import Loaded


def load(machine: Machine, op: Load) -> Allowed:
    """Read one byte; an untouched page reads zero, or the file's byte.

    Source: do_user_addr_fault, handle_pte_fault: do_anonymous_page, do_read_fault.
    """
    process = machine.process(op.process)

    # CHECKS
    refused = refusal(machine, process, op.at, Access.LOAD)
    if refused is not None:
        note_refusal(machine, refused)
        return Allowed((refused,), "sigaction(2): SIGSEGV with SEGV_MAPERR or SEGV_ACCERR, and si_addr")

    # EFFECT
    frame = touch(machine, process, op.at.vpn, Access.LOAD)

    # OUTCOME
    return Allowed((Loaded(frame.content[op.at.offset]),), "the last byte stored there, or the first one")
