"""force: a store through /proc/self/mem, which asks for no permission."""

from __future__ import annotations

from harness.model import kernel_access
from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.stack import vma_for
from harness.program.ops import Force
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "proc_pid_mem(5): memory is accessed through it as through ptrace(2), PTRACE_POKEDATA")
_EIO = Allowed((Failed("EIO"),), "mem_rw: EIO where access_remote_vm reaches nothing")


def force(machine: Machine, op: Force) -> Allowed:
    """Write one byte into private memory, whatever its protection; copy-on-write is broken before.

    What a process may not write by itself changes for it alone: not for those it shares the frame with, not in the page
    cache (CVE-2016-5195, "Dirty COW").

    Source: proc(5), /proc/pid/mem; mem_write, access_remote_vm, check_vma_flags.
    """
    process = machine.process(op.process)

    # CHECKS
    if vma_for(process.memory.vmas, op.at.vpn) is None:
        machine.reach["force.eio"] += 1
        return _EIO

    # EFFECT
    kernel_access.force(machine, process, op.at, op.value)

    # OUTCOME
    return _DONE
