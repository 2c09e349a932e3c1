"""feed: write(2) of one byte into the program's pipe, behind the pages that it holds."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.frame import FrameKind
from harness.model.machine import Machine, Pin
from harness.model.syscalls.pin import PIPE_FULL, is_full
from harness.program.ops import Feed
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "write(2): the number of bytes written")


def feed(machine: Machine, op: Feed) -> Allowed:
    """Put a byte of the kernel's own into the pipe. It may share a frame with the byte before it, if that was written too,
    and never with a page that was spliced.

    Source: pipe(7); pipe_write, whose PIPE_BUF_FLAG_CAN_MERGE says which buffers take more bytes.
    """
    machine.process(op.process)

    # CHECKS
    if is_full(machine):
        return PIPE_FULL

    # EFFECT
    frame = machine.pool.fresh(FrameKind.DETACHED)
    frame.write(0, bytes([op.value]))
    machine.pins.append(Pin(frame, 0, is_fed=True))
    machine.reach["feed"] += 1

    # OUTCOME
    return _DONE
