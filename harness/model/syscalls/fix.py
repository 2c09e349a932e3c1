"""fix: io_uring_register(2), IORING_REGISTER_BUFFERS, of one page."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import refusal, take
from harness.model.machine import Fixed, Machine
from harness.model.stack import vma_to_take
from harness.program.ops import Access, Fix
from harness.program.outcome import Done, Failed, Outcome

_DONE = Allowed((Done(),), "io_uring_register(2): on success")
_EBUSY = Allowed((Failed("EBUSY"),), "io_uring_register(2), EBUSY: buffers are registered already")
_EFAULT = Allowed((Failed("EFAULT"),), "io_uring_register(2), EFAULT: a buffer is outside the accessible memory")


def fix(machine: Machine, op: Fix) -> Allowed:
    """Hold the frame of a page for stores to come: copy-on-write is broken now, and fork will not share the frame.

    Source: io_uring_register(2); io_sqe_buffer_register, io_pin_pages: pin_user_pages with FOLL_WRITE | FOLL_LONGTERM.
    """
    process = machine.process(op.process)

    # CHECKS
    if machine.fixed is not None:
        return _EBUSY
    vma = vma_to_take(machine, process, op.at.vpn)
    if vma is None or refusal(machine, process, op.at, Access.STORE) is not None:
        return _EFAULT

    # EFFECT
    frame = take(machine, process, op.at.vpn, Access.STORE)
    if vma.file is not None:
        return _of_a_file(machine, Fixed(op.at.vpn, frame))
    machine.fixed = Fixed(op.at.vpn, frame)
    machine.reach["fix"] += 1

    # OUTCOME
    return _DONE


def _of_a_file(machine: Machine, found: Fixed) -> Allowed:
    """Leave it to the kernel whether memory of a file can be a buffer: Linux refused it before 6.5, after the fault."""

    def adopt(outcome: Outcome) -> None:
        if outcome == Done():
            machine.fixed = found

    return Allowed((Done(), Failed("EOPNOTSUPP")), "io_uring_register(2), EOPNOTSUPP: file-backed memory", adopt)
