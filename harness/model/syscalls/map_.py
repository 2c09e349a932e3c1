"""map: mmap(2) of private anonymous memory at a fixed place."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.vma import PLAIN, Vma, VmaFlag
from harness.program.files import STACK
from harness.program.ops import Map, Sharing
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "mmap(2): MAP_FIXED replaces the pages that overlap the range")
_SHARED_STACK = Allowed((Failed("EINVAL"),), "mmap(2), EINVAL; do_mmap: memory that grows is private and anonymous")


def map_(machine: Machine, op: Map) -> Allowed:
    """Replace whatever the range held by an anonymous VMA, none of whose pages is present.

    Source: mmap(2), MAP_FIXED and MAP_PRIVATE | MAP_ANONYMOUS; mmap_region.
    """
    space = machine.process(op.process).memory
    first, last = op.pages.vpn, op.pages.vpn + op.pages.npages

    # CHECKS
    if op.backing.name == STACK and op.sharing is Sharing.SHARED:
        return _SHARED_STACK
    # else none: the range is aligned, inside a window, and any protection may be asked for.

    # EFFECT
    machine.reach["map.over" if space.vmas.any_in(first, last) else "map"] += 1
    free_unheld(machine, space.remove(first, last))
    flags = VmaFlag.GROWS_DOWN if op.backing.name == STACK else PLAIN
    space.add(Vma(first, last, op.prot, flags=flags))

    # OUTCOME
    return _DONE
