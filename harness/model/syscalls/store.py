"""store: write one byte of memory."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import REFUSED, note_refusal, refusal, touch
from harness.model.machine import Machine
from harness.program.ops import Access, Store
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "an allowed access always completes")


def store(machine: Machine, op: Store) -> Allowed:
    """Write one byte into a frame that is the process's own, or becomes it now, and nobody else sees it; or, through
    a shared mapping, into the file, and everybody who maps or reads it does.

    Source: do_user_addr_fault, handle_pte_fault: do_anonymous_page, do_cow_fault, do_shared_fault, do_wp_page.
    """
    process = machine.process(op.process)

    # CHECKS
    refused = refusal(machine, process, op.at, Access.STORE)
    if refused is not None:
        note_refusal(machine, refused)
        return Allowed((refused,), REFUSED)

    # EFFECT
    vpn, offset = op.at.vpn, op.at.offset
    touch(machine, process, vpn, Access.STORE).write(offset, bytes((op.value,)))

    # OUTCOME
    return _DONE
