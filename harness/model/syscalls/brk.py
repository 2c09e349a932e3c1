"""brk: brk(2), which moves the end of the heap."""

from __future__ import annotations

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.semantics import Semantics
from harness.model.vma import Vma, VmaFlag
from harness.program.ops import Brk
from harness.program.outcome import Done, Failed, Outcome
from harness.program.program import BELOW_HEAP
from harness.program.units import PAGE_SIZE, Prot

_DONE = Allowed((Done(),), "brk(2): on success the program break is where it was asked for")
_ENOMEM = Allowed((Failed("ENOMEM"),), "brk(2), ENOMEM; sbrk's notes: into another mapping, or beyond a limit")
_LOW = Allowed((Failed("ENOMEM"),), "brk(2): sets the end of the data segment when that value is reasonable; else ENOMEM")
_CLOSE = "brk(2): how near to another mapping the break may come is not said"
_BELOW = "brk(2): whether the break may be set below where the heap began is not said"
_EMPTY = "brk(2): whether a break may be taken back over pages that were unmapped is not said"


def brk(machine: Machine, op: Brk) -> Allowed:
    """Map zeroes up to the new break, or unmap what lies behind it, page by page: a break within a page keeps it whole.

    Source: brk(2); do_brk_flags; and that the raw system call answers a refusal with the old break.
    """
    process = machine.process(op.process)
    space = process.memory
    to = op.at.vpn * PAGE_SIZE + op.at.offset
    old, new = _pages(space.brk), _pages(to)

    def move(outcome: Outcome = _DONE.outcomes[0]) -> None:
        if outcome != _DONE.outcomes[0]:
            machine.reach["brk.enomem"] += 1
            return
        space.brk = to
        machine.reach["brk.shrink" if new < old else "brk.grow"] += 1
        if new < old:
            free_unheld(machine, space.remove(new, old))
        elif new > old:
            space.add(Vma(old, new, Prot.R | Prot.W))

    # CHECKS
    if op.at.page == BELOW_HEAP:
        machine.reach["brk.below"] += 1
        return _LOW
    if new > old and (space.vmas.any_in(old, new) or not process.has_room(new - old)):
        machine.reach["brk.enomem"] += 1
        return _ENOMEM

    # EFFECT
    unsure = _unsure(machine.semantics, space, to)
    if not unsure:
        move()

    # OUTCOME
    return Allowed((*_ENOMEM.outcomes, *_DONE.outcomes), unsure, move) if unsure else _DONE


def _pages(address: int) -> int:
    """Give the first page that lies wholly behind an address."""
    return -(-address // PAGE_SIZE)


def _unsure(semantics: Semantics, space: AddressSpace, to: int) -> str:
    """Say why the kernel may refuse or not; "" where it may not.

    Source: the brk system call: a growing heap leaves a page, and the guard gap of a stack, before the next mapping; a
    shrinking one looks for a mapping in what it is to unmap, and gives up where there is none (Linux 6.1). Below its
    start the heap cannot end, but with CONFIG_COMPAT_BRK, where the limit is the end of the data of the file.
    """
    old, new = _pages(space.brk), _pages(to)
    if to < space.brk_start:
        return _BELOW
    if new < old:
        return "" if space.vmas.any_in(new, old) else _EMPTY
    gap = semantics.stack_guard_gap
    near = any(
        vma.start - (gap if vma.flags & VmaFlag.GROWS_DOWN else 0) < new + 1 for vma in space.vmas if vma.start >= new
    )
    return _CLOSE if new > old and near else ""
