"""starve: a fork that may run out of memory in its middle."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.semantics import SoleOwner
from harness.model.syscalls.fork import forked_space
from harness.program.ops import Starve
from harness.program.outcome import Done, Failed, Outcome

_ENOMEM = Failed("ENOMEM")
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
    writable = [pte for _, pte in process.memory.page_table.walk() if pte.writable or pte.write_pending]
    exclusive = [pte for _, pte in process.memory.page_table.walk() if pte.frame.exclusive]
    free_unheld(machine, forked_space(machine, process.memory).tear_down())
    machine.reach["starve"] += 1

    # OUTCOME
    def adopt(outcome: Outcome) -> None:
        if outcome == _ENOMEM:
            _in_doubt(machine, writable, exclusive)

    return Allowed((Done(), _ENOMEM), _CLAUSE, adopt)


def _in_doubt(machine: Machine, writable: list[PTE], exclusive: list[PTE]) -> None:
    """Follow a fork that failed: entries that were `writable`, and frames that were `exclusive`, may be so still."""
    machine.reach["starve.enomem"] += 1
    for pte in writable:
        pte.write_pending = not pte.writable
    for pte in exclusive:
        pte.frame.exclusive = True
    pinned = {pin.frame for pin in machine.pins}
    if machine.semantics.pinned_owner_write is not SoleOwner.EITHER and any(pte.frame in pinned for pte in exclusive):
        machine.end_of_knowledge("a fork failed, and nobody says whether it had got to a page that is pinned")
