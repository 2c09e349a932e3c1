"""One step of a program: the state changes, and the allowed outcomes come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model.allowed import Allowed
from harness.model.file_copies import follow_files
from harness.model.machine import Machine
from harness.model.syscalls.advise import advise
from harness.model.syscalls.ask import ask
from harness.model.syscalls.brk import brk
from harness.model.syscalls.copyrange import copyrange
from harness.model.syscalls.crash import crash
from harness.model.syscalls.crowd import crowd, disperse, throng
from harness.model.syscalls.deliver import deliver
from harness.model.syscalls.exec_ import exec_
from harness.model.syscalls.exit import exit_
from harness.model.syscalls.feed import feed
from harness.model.syscalls.fill import fill
from harness.model.syscalls.fix import fix
from harness.model.syscalls.force import force, poke
from harness.model.syscalls.fork import fork
from harness.model.syscalls.handle import handle
from harness.model.syscalls.handover import handover
from harness.model.syscalls.kill import kill
from harness.model.syscalls.limit import limit
from harness.model.syscalls.load import load
from harness.model.syscalls.map_ import map_
from harness.model.syscalls.mirror import mirror
from harness.model.syscalls.observe import observe
from harness.model.syscalls.peek import peek
from harness.model.syscalls.pin import pin
from harness.model.syscalls.print_ import print_
from harness.model.syscalls.protect import protect
from harness.model.syscalls.punch import punch
from harness.model.syscalls.read_ import read, readv
from harness.model.syscalls.reap import reap
from harness.model.syscalls.receive import receive
from harness.model.syscalls.remap import remap
from harness.model.syscalls.repeat import repeat
from harness.model.syscalls.scratch import scratch
from harness.model.syscalls.sendfile import sendfile
from harness.model.syscalls.splice import splice
from harness.model.syscalls.starve import refuse, starve
from harness.model.syscalls.store import store
from harness.model.syscalls.sync import sync
from harness.model.syscalls.threads import threads
from harness.model.syscalls.truncate import truncate
from harness.model.syscalls.try_ import try_
from harness.model.syscalls.unfix import unfix
from harness.model.syscalls.unlink import unlink
from harness.model.syscalls.unmap import unmap
from harness.model.syscalls.unpin import unpin
from harness.model.syscalls.vfork import clone, vfork
from harness.model.syscalls.wait import wait
from harness.model.syscalls.write_ import write
from harness.program.ops import (
    Advise,
    Ask,
    Brk,
    Clone,
    Copyrange,
    Crash,
    Crowd,
    Deliver,
    Disperse,
    Exec,
    Exit,
    Feed,
    Fill,
    Fix,
    Force,
    Fork,
    Handle,
    Handover,
    Kill,
    Limit,
    Load,
    Map,
    Mirror,
    Observe,
    Op,
    Peek,
    Pin,
    Poke,
    Print,
    Protect,
    Punch,
    Read,
    Readv,
    Reap,
    Receive,
    Refuse,
    Remap,
    Repeat,
    Roam,
    Scratch,
    Sendfile,
    Splice,
    Starve,
    Store,
    Sync,
    Threads,
    Throng,
    Truncate,
    Try,
    Unfix,
    Unlink,
    Unmap,
    Unpin,
    Vfork,
    Wait,
    Write,
)  # fmt: skip
from harness.program.outcome import Failed

MEANING: dict[type[Op], Callable[[Machine, Any], Allowed]] = {
    Map: map_,
    Unmap: unmap,
    Protect: protect,
    Load: load,
    Store: store,
    Fill: fill,
    Print: print_,
    Fork: fork,
    Vfork: vfork,
    Clone: clone,
    Mirror: mirror,
    Crowd: crowd,
    Throng: throng,
    Disperse: disperse,
    Starve: starve,
    Refuse: refuse,
    Limit: limit,
    Kill: kill,
    Threads: threads,
    Handle: handle,
    Handover: handover,
    Repeat: repeat,
    Exec: exec_,
    Exit: exit_,
    Crash: crash,
    Wait: wait,
    Observe: observe,
    Remap: remap,
    Roam: remap,
    Receive: receive,
    Ask: ask,
    Reap: reap,
    Force: force,
    Poke: poke,
    Peek: peek,
    Pin: pin,
    Splice: splice,
    Feed: feed,
    Unpin: unpin,
    Advise: advise,
    Brk: brk,
    Scratch: scratch,
    Try: try_,
    Fix: fix,
    Deliver: deliver,
    Unfix: unfix,
    Read: read,
    Readv: readv,
    Sendfile: sendfile,
    Copyrange: copyrange,
    Write: write,
    Truncate: truncate,
    Punch: punch,
    Unlink: unlink,
    Sync: sync,
}
"""What each operation means. Exhaustive over `harness.program.ops.OPS`, which a test checks."""


def step(machine: Machine, op: Op) -> Allowed:
    """Do one step of a well-formed program and give the outcomes that a guest may report for it.

    Raises ValueError where the step is not well formed here (a dead process acts, a name is taken).
    """
    machine.last_faults = machine.last_faults_least = 0
    machine.stored = []
    machine.first_read = None
    allowed = MEANING[type(op)](machine, op)
    follow_files(machine)
    return allowed


def rehearse(machine: Machine, steps: tuple[Op, ...], number: int) -> None:
    """Do all rounds but the last of the repetition that step `number` is; the last are the steps that follow it."""
    op = steps[number]
    if isinstance(op, Repeat):
        body = steps[number + 1 : number + 1 + op.body]
        for _ in range(op.rounds - 1):
            for each in body:
                allowed = step(machine, each)
                if allowed.adopt is None:
                    continue
                if isinstance(each, Starve):
                    allowed.adopt(Failed("ENOMEM"))  # nobody tells of this round: the answer after which least is known
                elif len(allowed.outcomes) > 1:
                    machine.end_of_knowledge("which of several answers a round gave that nobody tells of is not known")
