"""force: a store through /proc/self/mem, which asks for no permission."""

from __future__ import annotations

from harness.model import kernel_access
from harness.model.allowed import Allowed
from harness.model.fault import WRITE, is_behind_end
from harness.model.machine import Machine
from harness.model.stack import vma_for
from harness.program.ops import Force
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "proc_pid_mem(5): memory is accessed through it as through ptrace(2), PTRACE_POKEDATA")
_EIO = Allowed((Failed("EIO"),), "mem_rw: EIO where access_remote_vm reaches nothing")


def force(machine: Machine, op: Force) -> Allowed:
    """Write one byte into private memory, whatever its protection; copy-on-write is broken before. Into shared memory
    only as a store may.

    What a process may not write by itself changes for it alone: not for those it shares the frame with, not in the page
    cache (CVE-2016-5195, "Dirty COW").

    Source: proc(5), /proc/pid/mem; mem_write, access_remote_vm, check_vma_flags.
    """
    process = machine.process(op.process)

    # CHECKS
    vma = vma_for(process, op.at.vpn)
    is_others_too = vma is not None and vma.shared and not vma.prot & WRITE  # not a copy that could be written instead
    if vma is None or is_others_too or is_behind_end(machine, vma, op.at.vpn):
        machine.reach["force.eio"] += 1
        return _EIO

    # EFFECT
    kernel_access.force(machine, process, op.at, op.value)

    # OUTCOME
    return _DONE
