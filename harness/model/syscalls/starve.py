"""starve and refuse: forks that meet a limit, in their middle or at their end."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.process import Process
from harness.model.semantics import SoleOwner
from harness.model.syscalls.fork import forked_space
from harness.program.ops import Refuse, Starve
from harness.program.outcome import Done, Failed, Outcome

_ENOMEM = Failed("ENOMEM")
_EAGAIN = Allowed((Failed("EAGAIN"),), "fork(2), EAGAIN: the PID limit (pids.max) imposed by the process number controller")
_CLAUSE = "fork(2): on success, or ENOMEM: failed to allocate the necessary kernel structures because memory is tight"


def starve(machine: Machine, op: Starve) -> Allowed:
    """Fork, and be rid of the child: either way nobody holds more than before.

    How many frames a fork takes is the kernel's business, so both outcomes are right. A fork that failed has got to some
    entries of the parent, which it has made read-only, and not to others: these are as they were.

    Source: fork(2); dup_mmap and its error path; then as `exit` and `wait`.
    """
    process = machine.process(op.process)

    # CHECKS
    # none: whether there is memory enough is the kernel's to say.

    # EFFECT
    writable, exclusive = _before(process)
    free_unheld(machine, forked_space(machine, process.memory).tear_down())
    machine.reach["starve"] += 1

    # OUTCOME
    def adopt(outcome: Outcome) -> None:
        if outcome == _ENOMEM:
            machine.reach["starve.enomem"] += 1
            _in_doubt(machine, writable, exclusive)

    return Allowed((Done(), _ENOMEM), _CLAUSE, adopt)


def refuse(machine: Machine, op: Refuse) -> Allowed:
    """Fork in vain: the process would be one too many.

    Whether that is found before the memory was copied, and given back, or after it, is the kernel's business.

    Source: fork(2), EAGAIN; copy_process, where cgroup_can_fork (pids_can_fork) comes after copy_mm.
    """
    process = machine.process(op.process)

    # CHECKS
    # it fails, whatever else.

    # EFFECT
    writable, exclusive = _before(process)
    free_unheld(machine, forked_space(machine, process.memory).tear_down())
    _in_doubt(machine, writable, exclusive)
    machine.reach["refuse"] += 1

    # OUTCOME
    return _EAGAIN


def _before(process: Process) -> tuple[list[PTE], list[PTE]]:
    """List the entries from which a fork takes the right to write, and those whose frames were nobody else's ever."""
    entries = [pte for _, pte in process.memory.page_table.walk()]
    return [pte for pte in entries if pte.writable or pte.write_pending], [pte for pte in entries if pte.frame.exclusive]


def _in_doubt(machine: Machine, writable: list[PTE], exclusive: list[PTE]) -> None:
    """Follow a fork that failed: entries that were `writable`, and frames that were `exclusive`, may be so still."""
    for pte in writable:
        pte.write_pending = not pte.writable
    for pte in exclusive:
        pte.frame.exclusive = pte.frame.doubtful_owner = True
    pinned = {pin.frame for pin in machine.pins}
    if machine.semantics.pinned_owner_write is not SoleOwner.EITHER and any(pte.frame in pinned for pte in exclusive):
        machine.end_of_knowledge("a fork failed, and nobody says whether it had got to a page that is pinned")
