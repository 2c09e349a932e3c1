"""crowd, throng and disperse: many children at once that hold memory, and do nothing, or look at it once."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.fault import refusal, touch
from harness.model.frame import OWN
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.syscalls.fork import forked_space
from harness.program.ops import Access, Crowd, Disperse, Throng
from harness.program.outcome import Done
from harness.program.units import address_of

_CROWD = Allowed((Done(),), "fork(2): on success, each time")
_DISPERSE = Allowed((Done(),), "wait(2): each of them is there to be waited for")


def crowd(machine: Machine, op: Crowd) -> Allowed:
    """Fork so often. Nothing happens between the forks, so all the children's address spaces are alike, and stay so.

    Source: as `fork`.
    """
    process = machine.process(op.process)

    # CHECKS
    if process.crowd is not None:
        raise ValueError(f"p{op.process} has idle children already")

    # EFFECT
    _gather(machine, process, op.count)
    _leave_out_own(machine, process)
    machine.reach["crowd"] += 1

    # OUTCOME
    return _CROWD


def throng(machine: Machine, op: Throng) -> Allowed:
    """Fork so often; each child loads from the pages before the next fork, as far as it may, and then does nothing.

    What a child loads is no other child's business, and loads leave nothing different for the next: so they are all alike.

    Source: as `fork`, and as `load`.
    """
    process = machine.process(op.process)

    # CHECKS
    if process.crowd is not None:
        raise ValueError(f"p{op.process} has idle children already")

    # EFFECT
    child = _gather(machine, process, op.count)
    for vpn in op.pages.vpns:
        at = address_of(vpn)
        assert at is not None
        if refusal(machine, child, at, Access.LOAD) is None:
            touch(machine, child, vpn, Access.LOAD)
    _leave_out_own(machine, process)
    machine.reach["throng"] += 1

    # OUTCOME
    return _CROWD


def _gather(machine: Machine, process: Process, count: int) -> Process:
    """Make so many idle children at once; give one that does what all of them do."""
    process.crowd = forked_space(machine, process.memory)
    process.crowd.idle = count
    return Process(process.number, None, process.crowd)


def _leave_out_own(machine: Machine, process: Process) -> None:
    """Leave out what each child has for itself: it is another frame for each of them, and nobody else ever sees it."""
    assert process.crowd is not None, "they are there"
    inherited = {pte.frame for _, pte in process.memory.page_table.walk()}
    for vpn, pte in list(process.crowd.page_table.walk()):
        if pte.frame.kind in OWN and pte.frame not in inherited:
            process.crowd.page_table.unmap(vpn)
            free_unheld(machine, [pte.frame])


def disperse(machine: Machine, op: Disperse) -> Allowed:
    """Let all of them exit, and reap them.

    Source: as `exit` and `wait`.
    """
    process = machine.process(op.process)

    # CHECKS
    space = process.crowd
    if space is None:
        raise ValueError(f"p{op.process} has no idle children")

    # EFFECT
    process.crowd = None
    free_unheld(machine, space.tear_down())
    machine.reach["disperse"] += 1

    # OUTCOME
    return _DISPERSE
