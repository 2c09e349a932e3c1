"""mirror: mmap(2) of one page of a file in many places."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.syscalls.map_ import map_
from harness.program.ops import Mirror
from harness.program.outcome import Done


def mirror(machine: Machine, op: Mirror) -> Allowed:
    """Map page after page as `map_` does, each by itself and onto the same page of the file, until a call fails.

    So one process may hold a frame as often as it has room for: what is counted is entries, and not processes. Neighbours
    show the same page of the file, and so are never one VMA.

    Source: as `map_`; page_add_file_rmap, which counts each entry.
    """
    machine.process(op.process)

    # CHECKS
    # those of each call.

    # EFFECT
    for part in op.parts:
        allowed = map_(machine, part)
        if allowed.outcomes != (Done(),):
            return allowed
    machine.reach["mirror"] += 1

    # OUTCOME
    return allowed
