"""limit: setrlimit(2) of RLIMIT_AS, which bounds the address space of a process."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Limit
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "getrlimit(2), RLIMIT_AS: affects brk(2), mmap(2) and mremap(2), which fail with ENOMEM")


def limit(machine: Machine, op: Limit) -> Allowed:
    """Let the process map `left` pages more than it has mapped now, and no more; its children inherit the limit.

    What is mapped stays, and fork makes no difference: a child may have as much as its parent has. Who works in the
    address space of another is bound by a limit of his own.

    Source: getrlimit(2); may_expand_vm, which compares mm->total_vm with the limit of who asks; dup_mmap asks nobody.
    """
    process = machine.process(op.process)

    # CHECKS
    # none: a soft limit may be anything up to the hard one, which is infinite.

    # EFFECT
    process.limit = process.memory.vmas.npages + op.left
    machine.reach["limit"] += 1

    # OUTCOME
    return _DONE
