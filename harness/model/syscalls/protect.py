"""protect: mprotect(2)."""

from __future__ import annotations

from dataclasses import replace

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.fault import WRITE, is_owned, may_read
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.semantics import Choice
from harness.model.vma import Vma
from harness.program.ops import Protect
from harness.program.outcome import Done, Failed
from harness.program.units import Prot

_DONE = Allowed((Done(),), "mprotect(2): returns zero on success")
_ENOMEM = Allowed((Failed("ENOMEM"),), "mprotect(2), ENOMEM: a page of the range is not mapped")


def protect(machine: Machine, op: Protect) -> Allowed:
    """Give the range a new protection, up to the first hole in it; fail if there is one.

    Taking a right away takes effect at once. Giving the right to write back does not make a shared frame
    writable: its next store breaks copy-on-write as before.

    Source: mprotect(2); do_mprotect_pkey, mprotect_fixup, change_pte_range, can_change_pte_writable.
    """
    space = machine.process(op.process).memory
    first, last = op.pages.vpn, op.pages.vpn + op.pages.npages

    # CHECKS
    hole = space.vmas.first_hole(first, last)
    if hole < last and not machine.semantics.protect_changes_before_hole:
        hole = first

    # EFFECT
    for part in space.vmas.parts(first, hole):
        if part.prot != op.prot:
            _change(machine, space, part, op.prot)
    if first < hole:
        machine.reach["protect"] += 1

    # OUTCOME
    if hole < last:
        machine.reach["protect.enomem"] += 1
        return _ENOMEM
    return _DONE


def _change(machine: Machine, space: AddressSpace, part: Vma, prot: Prot) -> None:
    """Change one VMA, or a part of one. Source: mprotect_fixup, which skips one that is as asked for."""
    space.vmas.carve(part.start, part.end)
    space.vmas.insert(replace(part, prot=prot))
    for vpn in part.vpns:
        pte = space.page_table.lookup(vpn)
        if pte is not None:
            _change_pte(machine, pte, prot, shared=part.shared)


def _change_pte(machine: Machine, pte: PTE, prot: Prot, *, shared: bool) -> None:
    """Take the write bit off; give it back only to a sole holder, if this kernel does so at all.

    A shared mapping's entry may get it back at once, or at the next store: nobody needs protection from that.
    Source: pte_modify with vm_page_prot, which has the write bit unless vma_wants_writenotify.
    """
    pte.readable = may_read(machine.semantics, prot)
    pte.writable = pte.write_pending = False
    if shared:
        pte.write_pending = bool(prot & WRITE)
        return
    choice = machine.semantics.protect_grants_write
    if prot & WRITE and choice is not Choice.NEVER:
        sole = is_owned(machine, pte.frame)
        pte.writable = sole and choice is Choice.ALWAYS and not pte.optional
        pte.write_pending = sole and not pte.writable
