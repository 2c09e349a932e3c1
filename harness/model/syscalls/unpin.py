"""unpin: read(2) of the oldest byte in the program's pipe."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.program.ops import Unpin
from harness.program.outcome import Failed, Loaded

_EAGAIN = Allowed((Failed("EAGAIN"),), "read(2), EAGAIN: the pipe is empty, and does not block")


def unpin(machine: Machine, op: Unpin) -> Allowed:
    """Read the byte out of the frame as it is now, and let go of the frame.

    Source: vmsplice(2), SPLICE_F_GIFT: without it, what is stored to the pages later may show; pipe_read,
    generic_pipe_buf_release.
    """
    machine.process(op.process)

    # CHECKS
    if not machine.pins:
        return _EAGAIN

    # EFFECT
    pin = machine.pins.pop(0)
    contents = [each for held in (pin.frame.contents, *reversed(pin.before)) for each in held]
    free_unheld(machine, [pin.frame])
    machine.reach["unpin"] += 1

    # OUTCOME
    outcomes = tuple(dict.fromkeys(Loaded(content[pin.offset]) for content in contents))
    return Allowed(outcomes, "the byte of the frame that was pinned")
