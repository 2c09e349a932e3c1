"""sync: msync(2) with MS_SYNC."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Sync
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "msync(2): on success, zero")
_ENOMEM = Allowed((Failed("ENOMEM"),), "msync(2), ENOMEM: the memory, or part of it, was not mapped")


def sync(machine: Machine, op: Sync) -> Allowed:
    """Have shared mappings written back, which no program can see: read(2) looks at the same pages.

    Source: msync(2); vfs_fsync_range, which goes on behind a hole and says ENOMEM in the end.
    """
    space = machine.process(op.process).memory

    # CHECKS
    mapped = all(space.vmas.find(vpn) is not None for vpn in op.pages.vpns)

    # EFFECT
    # none.

    # OUTCOME
    machine.reach["sync" if mapped else "sync.enomem"] += 1
    return _DONE if mapped else _ENOMEM
