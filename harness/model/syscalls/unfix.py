"""unfix: io_uring_register(2), IORING_UNREGISTER_BUFFERS."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.program.ops import Unfix
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "io_uring_register(2): on success")
_ENXIO = Allowed((Failed("ENXIO"),), "io_uring_register(2), ENXIO: no buffers are registered")


def unfix(machine: Machine, op: Unfix) -> Allowed:
    """Let go of the frame.

    Source: io_uring_register(2); io_sqe_buffers_unregister, unpin_user_page.
    """
    machine.process(op.process)

    # CHECKS
    if machine.fixed is None:
        return _ENXIO

    # EFFECT
    frame = machine.fixed.frame
    machine.fixed = None
    free_unheld(machine, [frame])
    machine.reach["unfix"] += 1

    # OUTCOME
    return _DONE
