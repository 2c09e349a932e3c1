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
    process.crowd = forked_space(machine, process.memory)
    process.crowd.idle = op.count
    machine.reach["crowd"] += 1

    # OUTCOME
    return _CROWD


def throng(machine: Machine, op: Throng) -> Allowed:
    """Fork so often; each child loads from the pages before the next fork, as far as it may, and then does nothing.

    What a child loads is no other child's business, and loads leave nothing different for the next: so they are all alike.
    What they bring in of their own is left out: it is another frame for each of them, and nobody else ever sees it.

    Source: as `fork`, and as `load`.
    """
    # CHECKS, EFFECT
    crowd(machine, op)
    child = Process(op.process, None, machine.process(op.process).crowd)
    for vpn in op.pages.vpns:
        at = address_of(vpn)
        assert at is not None
        if refusal(machine, child, at, Access.LOAD) is None:
            _look(machine, child, vpn)
    machine.reach["throng"] += 1

    # OUTCOME
    return _CROWD


def _look(machine: Machine, child: Process, vpn: int) -> None:
    table = child.memory.page_table
    was_there = table.lookup(vpn) is not None
    frame = touch(machine, child, vpn, Access.LOAD)
    if not was_there and frame.kind in OWN:
        table.unmap(vpn)
        free_unheld(machine, [frame])


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
