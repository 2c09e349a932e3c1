"""pin: vmsplice(2) of one byte, by which the program's pipe holds the frame behind it."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import is_behind_end, may_read, may_vanish, take
from harness.model.frame import FrameKind
from harness.model.machine import Machine, Pin
from harness.model.process import Process
from harness.model.stack import vma_to_take
from harness.program import ops
from harness.program.ops import Access
from harness.program.outcome import Done, Failed, Outcome
from harness.program.units import Prot

PIPE_SLOTS = 16
"""Buffers of a pipe, each of which holds one page. Source: PIPE_DEF_BUFFERS; pipe(7), "Pipe capacity"."""

_DONE = Done()
_EFAULT = Failed("EFAULT")


PIPE_FULL = Allowed((Failed("EAGAIN"),), "vmsplice(2), splice(2), write(2), EAGAIN: the pipe is full, and does not block")


def is_full(machine: Machine) -> bool:
    """Tell whether the pipe has no room for one piece more. Where bytes were written into it, that ends what is known: how
    many of them go into one buffer is the kernel's choice.
    """
    if len(machine.pins) < PIPE_SLOTS:
        return False
    if any(pin.is_fed for pin in machine.pins):
        machine.end_of_knowledge("how many bytes that were written share a buffer of a pipe is not said")
    return True


def pin(machine: Machine, op: ops.Pin) -> Allowed:
    """Put the frame, not its bytes, into the pipe; an untouched page is faulted in as by a load.

    The pipe is one more holder: what happens to the pinner's entry afterwards, and to the pinner, does not touch it.

    Source: vmsplice(2); vmsplice_to_pipe, iter_to_pipe, get_user_pages_fast without FOLL_WRITE.
    """
    process = machine.process(op.process)
    vma = vma_to_take(machine, process, op.at.vpn)

    # CHECKS
    if is_full(machine):
        return PIPE_FULL
    if vma is None or not may_read(machine.semantics, vma.prot):
        return Allowed((_EFAULT,), "check_vma_flags: neither readable nor forced")
    if is_behind_end(machine, vma, op.at.vpn):
        return Allowed((_EFAULT,), "vmsplice(2), as for any fault that cannot be made good: faultin_page, VM_FAULT_SIGBUS")

    if not vma.prot & Prot.R:
        return _maybe(machine, process, op)

    # EFFECT
    _hold(machine, process, op)

    # OUTCOME
    return Allowed((_DONE,), "vmsplice(2): the number of bytes transferred")


def _maybe(machine: Machine, process: Process, op: ops.Pin) -> Allowed:
    """Leave it to the kernel whether memory can be pinned that may be written or executed, and not read."""

    def adopt(outcome: Outcome) -> None:
        if outcome == _DONE:
            _hold(machine, process, op)

    clause = "readable by the hardware alone: gup_pte_range takes a present page, check_vma_flags refuses an absent one"
    return Allowed((_DONE, _EFAULT), clause, adopt)


def _hold(machine: Machine, process: Process, op: ops.Pin) -> None:
    pte = process.memory.page_table.lookup(op.at.vpn)
    if pte is not None and may_vanish(machine, pte):
        machine.end_of_knowledge("a page is pinned that was free to go, and nobody says whether it had gone")
    if pte is not None and pte.guessed and pte.frame.kind is FrameKind.ANON:
        machine.end_of_knowledge("a page is pinned of which the kernel may have made a copy, with others, or not")
    frame = take(machine, process, op.at.vpn, Access.LOAD)
    machine.pins.append(Pin(frame, op.at.offset, place=(process.memory, op.at.vpn)))
    machine.reach["pin"] += 1
