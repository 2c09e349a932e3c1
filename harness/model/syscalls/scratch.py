"""scratch: mmap(2) of anonymous memory where the kernel likes, used and given back."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Scratch
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "mmap(2): if addr is NULL, the kernel chooses the address; the contents are zero")

_ENOMEM = Allowed((Failed("ENOMEM"),), "mmap(2), ENOMEM: the process's RLIMIT_AS limit would have been exceeded")


def scratch(machine: Machine, op: Scratch) -> Allowed:
    """Map, find zeroes, store, unmap. Where that was is of no interest, but that nothing else was there: of two such
    mappings, neither the other.

    Source: mmap(2); get_unmapped_area, vm_unmapped_area.
    """
    # CHECKS
    if not machine.process(op.process).has_room(op.npages):
        machine.reach["map.enomem"] += 1
        return _ENOMEM

    # EFFECT
    # none that lasts: what was mapped is unmapped, and its frames are free.
    machine.reach["scratch"] += 1

    # OUTCOME
    return _DONE
