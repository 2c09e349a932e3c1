"""unlink: the name of a file goes."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Unlink
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "unlink(2): a file that is open stays until the last descriptor is closed")
_ENOENT = Allowed((Failed("ENOENT"),), "unlink(2), ENOENT: the name does not exist")


def unlink(machine: Machine, op: Unlink) -> Allowed:
    """Take the name away. Every process has the file open, so all else about it stays.

    Source: unlink(2); do_unlinkat, shmem_unlink, iput.
    """
    file = machine.cache.file(op.file)

    # CHECKS
    if not file.is_linked:
        machine.reach["unlink.enoent"] += 1
        return _ENOENT

    # EFFECT
    file.is_linked = False
    machine.reach["unlink"] += 1

    # OUTCOME
    return _DONE
