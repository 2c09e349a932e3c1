"""peek: a read through /proc/self/mem, which asks for no permission."""

from __future__ import annotations

from harness.model import kernel_access
from harness.model.allowed import Allowed
from harness.model.fault import is_behind_end
from harness.model.machine import Machine
from harness.model.stack import vma_for
from harness.model.user_memory import page_by_page
from harness.program.ops import Peek
from harness.program.outcome import Printed

_READ = "proc_pid_mem(5): as through ptrace(2), PTRACE_PEEKDATA; mem_rw: up to what is out of reach"


def peek(machine: Machine, op: Peek) -> Allowed:
    """Append the bytes of memory to the output, whatever its protection, page by page, up to the first page that is not
    there.

    Source: proc(5), /proc/pid/mem; mem_read, access_remote_vm, check_vma_flags (FOLL_FORCE, VM_MAYREAD).
    """
    process = machine.process(op.process)
    done = 0
    for place, length in page_by_page(op.at, op.length):
        # CHECKS
        vma = vma_for(machine, process, place.vpn)
        if vma is None or is_behind_end(machine, vma, place.vpn):
            break

        # EFFECT
        kernel_access.peek(machine, process, place, length)
        done += length

    # OUTCOME
    if not done:
        machine.reach["peek.eio"] += 1
        return kernel_access.out_of_reach(machine.semantics)
    return Allowed((Printed(done),), _READ)
