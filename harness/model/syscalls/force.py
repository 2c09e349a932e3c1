"""force and poke: stores through /proc/PID/mem, which asks for no permission, to a process's own memory and another's."""

from __future__ import annotations

from harness.model import kernel_access
from harness.model.allowed import Allowed
from harness.model.fault import WRITE, is_behind_end
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.stack import vma_for
from harness.model.user_memory import page_by_page
from harness.program.ops import Force, Poke
from harness.program.outcome import Done, Printed
from harness.program.units import Address

_DONE = Allowed((Done(),), "proc_pid_mem(5): memory is accessed through it as through ptrace(2), PTRACE_POKEDATA")
_SHORT = "mem_rw: what was stored before the page that access_remote_vm does not reach"


def force(machine: Machine, op: Force) -> Allowed:
    """Write bytes into private memory, whatever its protection; copy-on-write is broken before. Into shared memory only
    as a store may. Page by page, up to the first that is out of reach.

    What a process may not write by itself changes for it alone: not for those it shares the frame with, not in the page
    cache (CVE-2016-5195, "Dirty COW").

    Source: proc(5), /proc/pid/mem; mem_write, access_remote_vm, check_vma_flags.
    """
    return _write_memory(machine, machine.process(op.process), op)


def poke(machine: Machine, op: Poke) -> Allowed:
    """Do the same to the memory of another process, which finds the bytes there when its turn comes. Nobody else does: not
    who wrote them, whose own memory has no part in it, be it mapped alike.

    Source: as of `force`; mem_open (PTRACE_MODE_ATTACH), access_remote_vm of another mm than the caller's.
    """
    machine.process(op.process)
    return _write_memory(machine, machine.process(op.victim), op)


def _write_memory(machine: Machine, process: Process, op: Force | Poke) -> Allowed:
    done = 0
    for place, length in page_by_page(op.at, op.length):
        # CHECKS
        if not _is_in_reach(machine, process, place):
            break

        # EFFECT
        kernel_access.force(machine, process, place, bytes((op.value,)) * length)
        done += length

    # OUTCOME
    if done == op.length:
        return _DONE
    machine.reach["force.partial" if done else "force.eio"] += 1
    if done:
        return Allowed((Printed(done),), _SHORT)
    return kernel_access.out_of_reach(machine.semantics)


def _is_in_reach(machine: Machine, process: Process, at: Address) -> bool:
    """Tell whether a forced store may go to the page of `at`; a stack grows by the attempt."""
    vma = vma_for(machine, process, at.vpn)
    if vma is None or is_behind_end(machine, vma, at.vpn):
        return False
    return not vma.shared or bool(vma.prot & WRITE)  # of shared memory there is no copy that could be written instead
