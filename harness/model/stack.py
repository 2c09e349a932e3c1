"""Stacks: mappings that take in the pages below them when those are touched (MAP_GROWSDOWN).

::

         accessible VMA        at least stack_guard_gap         stack
      ┌──────────────────┐ · · · · · · · · · · · · · · ┌─ ─ ─ ─┬──────────┐
      └──────────────────┘                             └─ ─ ─ ─┴──────────┘
                                                       ▲ touched: the stack begins here from now on

A stack that is below, or memory that cannot be touched at all, may be as near as it likes. mmap(2) speaks of one guard
page, and of growth page by page; Linux takes any page up to the limit of the stack's size, and keeps a wider gap.

Source: mmap(2), MAP_GROWSDOWN; expand_downwards (stack_guard_gap, vma_is_accessible), acct_stack_growth (RLIMIT_STACK,
RLIMIT_AS).
"""

from __future__ import annotations

from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.semantics import STACK_LIMIT
from harness.model.vma import Vma, VmaFlag
from harness.program.units import Prot


def vma_for(machine: Machine, process: Process, vpn: int) -> Vma | None:
    """Give the VMA in which page `vpn` lies now that `process` touches it: a stack above may have grown to it."""
    vmas = process.memory.vmas
    found = vmas.find(vpn)
    if found is not None:
        return found
    above = next((vma for vma in vmas if vma.start > vpn), None)
    if above is None or not above.flags & VmaFlag.GROWS_DOWN or above.end - vpn > STACK_LIMIT:
        return None
    below = [vma for vma in vmas if vma.end <= vpn]
    if below and _keeps_off(below[-1]) and vpn - below[-1].end < machine.semantics.stack_guard_gap:
        return None
    if not process.has_room(above.start - vpn):
        return None
    if machine.semantics.grown_stack_stays_promised and not above.prot & Prot.W:
        machine.promised_for_ever += above.start - vpn
    return vmas.extend(above, start=vpn)


def vma_to_take(machine: Machine, process: Process, vpn: int) -> Vma | None:
    """Give the VMA of page `vpn` for a kernel that takes the page (vmsplice, a fixed buffer) and touches nothing."""
    return vma_for(machine, process, vpn) if machine.semantics.taking_grows_stack else process.memory.vmas.find(vpn)


def _keeps_off(below: Vma) -> bool:
    return bool(below.prot) and not below.flags & VmaFlag.GROWS_DOWN
