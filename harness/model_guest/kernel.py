"""Processes, and what each operation of a program does to them.

The kernel runs on one CPU, and one process at a time; the operations come in the order of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model_guest import lifecycle
from harness.model_guest.accesses import Accesses
from harness.model_guest.features import NONE, Features
from harness.model_guest.kernel_access import KernelAccess
from harness.model_guest.mapping_calls import MappingCalls
from harness.model_guest.process_calls import ProcessCalls
from harness.model_guest.process_table import Process, killed
from harness.model_guest.trouble import OutOfMemory
from harness.model_guest.uaccess import unregister_buffer
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
)
from harness.program.outcome import (
    Lost,
    Outcome,
    Signal,
)


class Kernel(MappingCalls, Accesses, KernelAccess, ProcessCalls):
    """A booted kernel. It keeps its state from program to program, as a machine does."""

    def __init__(self, total_frames: int, planted: frozenset[str], features: Features = NONE) -> None:
        super().__init__(total_frames, planted, features)
        self._handlers: dict[type[Op], Callable[[Any], Outcome]] = {
            Map: self._map,
            Mirror: self._mirror,
            Unmap: self._unmap,
            Protect: self._protect,
            Load: self._load,
            Store: self._store,
            Fill: self._fill,
            Print: self._print,
            Fork: self._fork,
            Vfork: self._vfork,
            Clone: self._clone,
            Crowd: self._crowd,
            Throng: self._throng,
            Disperse: self._disperse,
            Starve: self._starve,
            Refuse: self._refuse,
            Limit: self._limit,
            Kill: self._kill,
            Threads: self._threads,
            Handover: self._handover,
            Exec: self._exec,
            Exit: self._exit,
            Crash: self._crash,
            Handle: self._handle,
            Wait: self._wait,
            Remap: self._remap,
            Roam: self._remap,
            Receive: self._receive,
            Ask: self._ask,
            Reap: self._reap_into,
            Force: self._force,
            Poke: self._poke,
            Peek: self._peek,
            Pin: self._pin,
            Splice: self._splice,
            Feed: self._feed,
            Unpin: self._unpin,
            Advise: self._advise,
            Brk: self._brk,
            Scratch: self._scratch,
            Try: self._try,
            Fix: self._fix,
            Deliver: self._deliver,
            Unfix: self._unfix,
            Read: self._read,
            Readv: self._readv,
            Sendfile: self._sendfile,
            Copyrange: self._copyrange,
            Write: self._write,
            Truncate: self._truncate,
            Punch: self._punch,
            Unlink: self._unlink,
            Sync: self._sync,
        }

    def start(self) -> None:
        """Start p0 in a fresh image. Raises OutOfMemory."""
        self.outputs = {}
        self.processes = {0: Process(lifecycle.image_space(self.machine), parent=None)}

    def perform(self, op: Op) -> Outcome:
        """Do one step. Raises Stuck or Panic; all that a process can survive is an outcome."""
        if self.run(op.process).status is not None:
            return Lost("killed with its child")
        try:
            return self._handlers[type(op)](op)
        except OutOfMemory:
            self._end(op.process, killed(Signal.SIGKILL))
            return Lost("killed: out of memory")

    def run(self, name: int) -> Process:
        """Let a process have the CPU."""
        process = self.processes[name]
        self.machine.tlb.switch(process.space.root)
        self.machine.limit = process.limit
        return process

    def end_all(self) -> None:
        """Kill and reap every process that is left, the youngest first."""
        forgotten = self._orphans() if self.machine.has("orphans-stay") else set()  # planted: init reaps its own alone
        for name in reversed(self.live):
            self._let_crowd_go(name)
            self._end(name, killed(Signal.SIGKILL))
        for name in list(self.processes):
            if name not in forgotten:
                self._reap(name)
        self.unreaped = len(self.processes)
        self.pipe.close()
        unregister_buffer(self.machine)
        self.machine.files.close()

    def _orphans(self) -> set[int]:
        """Name the processes whose parents have ended."""
        live = self.live
        return {name for name, process in self.processes.items() if process.parent not in (None, *live)}
