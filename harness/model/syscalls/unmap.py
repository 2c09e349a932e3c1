"""unmap: munmap(2)."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.program.ops import Unmap
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "munmap(2): it is no error if the range holds no mapped page")


def unmap(machine: Machine, op: Unmap) -> Allowed:
    """Remove exactly the range, to the end of the page in which it ends: VMAs, entries (each frame loses one reference),
    and unneeded tables.

    Source: munmap(2); do_mas_align_munmap, unmap_region, zap_pte_range, free_pgtables.
    """
    space = machine.process(op.process).memory
    first, last = op.pages.vpn, op.pages.vpns.stop

    # CHECKS
    # none: holes are no error.

    # EFFECT
    free_unheld(machine, space.remove(first, last))
    machine.reach["unmap"] += 1

    # OUTCOME
    return _DONE
