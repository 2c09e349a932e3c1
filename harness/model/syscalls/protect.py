"""protect: mprotect(2)."""

from __future__ import annotations

from dataclasses import replace

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.fault import WRITE, is_owned, may_read
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.semantics import Choice
from harness.model.vma import Vma, VmaFlag
from harness.program.ops import Protect
from harness.program.outcome import Done, Failed
from harness.program.units import Prot

_DONE = Allowed((Done(),), "mprotect(2): returns zero on success")
_ENOMEM = Allowed((Failed("ENOMEM"),), "mprotect(2), ENOMEM: a page of the range is not mapped")
_EACCES = Allowed(
    (Failed("EACCES"),),
    "mprotect(2), EACCES: the memory cannot be given the specified access, as where a file is mapped that is open for "
    "reading only, and PROT_WRITE is asked for",
)
_EITHER = Allowed((*_ENOMEM.outcomes, *_EACCES.outcomes), "mprotect(2): which of two errors it is, is not said")


def protect(machine: Machine, op: Protect) -> Allowed:
    """Give the range a new protection, up to the first page that cannot have it; fail if there is one. That is a hole, or
    shared memory whose file is not open for writing, where it is to be written. Nothing is done to a range of no length.

    Taking a right away takes effect at once. Giving the right to write back does not make a shared frame
    writable: its next store breaks copy-on-write as before.

    Source: mprotect(2); do_mprotect_pkey, mprotect_fixup, change_pte_range, can_change_pte_writable.
    """
    space = machine.process(op.process).memory
    first, last = op.pages.vpn, op.pages.vpns.stop

    # CHECKS
    hole, refusal = space.vmas.first_hole(first, last), _first_refusal(space, first, last, op.prot)
    end = min(hole, refusal)
    in_order = machine.semantics.protect_changes_before_hole
    if end < last and not in_order:
        end = first

    # EFFECT
    for part in space.vmas.parts(first, end):
        if part.prot != op.prot:
            _change(machine, space, part, op.prot)
    if first < end:
        machine.reach["protect"] += 1

    # OUTCOME
    if hole == refusal:
        return _DONE
    machine.reach["protect.enomem" if hole < refusal else "protect.eacces"] += 1
    if max(hole, refusal) < last and not in_order:
        return _EITHER
    return _ENOMEM if hole < refusal else _EACCES


def _first_refusal(space: AddressSpace, first: int, last: int, prot: Prot) -> int:
    """Find the first page of [first, last) that may not be given the right to write; `last` where there is none."""
    parts = space.vmas.parts(first, last) if prot & WRITE else []
    return next((part.start for part in parts if part.flags & VmaFlag.NEVER_WRITABLE), last)


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
