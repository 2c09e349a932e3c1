"""The table of processes, and how one ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.model_guest import lifecycle
from harness.model_guest.features import NONE, Features
from harness.model_guest.machine import AddressSpace, Machine, boot
from harness.model_guest.pagefault import touch
from harness.model_guest.trouble import Segfault
from harness.model_guest.uaccess import Pipe
from harness.program.ops import Op
from harness.program.outcome import Faulted, Signal
from harness.program.units import Address

MAX_PROCESSES = 440
"""The places in the table of processes."""


@dataclass(slots=True)
class Process:
    """One process. `status` is its wait status word once it has ended: a zombie."""

    space: AddressSpace
    parent: int | None
    status: int | None = None
    output: bytearray = field(default_factory=bytearray)
    limit: int | None = None
    """How many pages it may map in all."""
    crowd: list[AddressSpace] = field(default_factory=list)
    """Those of its idle children."""
    threads: int = 0
    """How many there are beside the one that acts; each is a user of its address space."""
    by_thread: bool = False
    """Another thread than the first, its leader, does its steps."""
    waits_for: int | None = None
    """The child of its vfork that has neither exec'd nor ended yet."""
    keeps_space: bool = False
    """It has ended, and has not let go of its address space, as no process of a sound kernel does."""


def exited(status: int) -> int:
    """Give the wait status word of a normal exit, as wait(2) lays it out."""
    return status << 8


def killed(signal: Signal) -> int:
    """Give the wait status word of death by a signal."""
    return signal.value


def signal_of(fault: Segfault) -> Signal:
    """Give the signal of a forbidden access."""
    return fault.code.value[0]


def faulted(fault: Segfault, at: Address) -> Faulted:
    """Give what a process sees of its forbidden access to `at`."""
    return Faulted(signal_of(fault), fault.code, at)


class ProcessTable:
    """A booted machine, and the processes on it."""

    def __init__(self, total_frames: int, planted: frozenset[str], features: Features = NONE) -> None:
        self.machine: Machine = boot(total_frames, planted, features)
        self.processes: dict[int, Process] = {}
        self.outputs: dict[int, bytes] = {}
        self.unreaped = 0
        self.lost_slots = 0
        """Places in the table of processes that nobody has, and that are not free."""
        self.forks = 0
        """How many forks there were, for a fault that not each of them has."""
        self.pipe = Pipe(self.machine)

    @property
    def live(self) -> list[int]:
        """The names of the processes that have not ended."""
        return [name for name, process in self.processes.items() if process.status is None]

    def _space(self, op: Op) -> AddressSpace:
        return self.processes[op.process].space

    def _spaces(self, op: Op) -> list[AddressSpace]:
        """List all address spaces, each once, that of who acts first."""
        processes = [self.processes[name] for name in (op.process, *self.live)]
        spaces = [space for process in processes for space in (process.space, *process.crowd)]
        return list({id(space): space for space in spaces}.values())

    def _page(self, op: Op, at: Address, *, write: bool) -> bytearray:
        pfn = touch(self.machine, self._space(op), at.vpn, write=write)
        return self.machine.frames[pfn].data

    def _has_slot(self) -> bool:
        """Tell whether one more process fits into the table."""
        taken = len(self.processes) + sum(len(each.crowd) for each in self.processes.values())
        return taken + self.lost_slots < MAX_PROCESSES

    def _let_crowd_go(self, name: int) -> None:
        """End and reap the idle children of a process."""
        crowd = self.processes[name].crowd
        while crowd:
            lifecycle.release(self.machine, crowd.pop())

    def _wake(self, child: int) -> None:
        """Let the parent go on that waits inside vfork for `child`."""
        for process in self.processes.values():
            if process.waits_for == child:
                process.waits_for = None

    def _end_threads(self, process: Process, *, forgets: bool) -> None:
        """End all threads of a process but the one that acts; each lets go of the address space once."""
        if not forgets:
            process.space.users -= process.threads
        process.threads = 0

    def _end(self, name: int, status: int) -> None:
        """Turn a process into a zombie: its memory goes now, its status stays."""
        process = self.processes[name]
        process.status = status
        # planted: only the thread that ends the process lets go
        self._end_threads(process, forgets=self.machine.has("exit-forgets-threads"))
        self.machine.tlb.switch(None)
        if process.by_thread and process.space.users > 1 and self.machine.has("thread-exit-drops-twice"):
            process.space.users -= 1  # planted: once as a thread, and once as the process
        process.keeps_space = self.machine.has("zombie-keeps-space")  # planted: it goes when it is waited for
        if not process.keeps_space:
            lifecycle.release(self.machine, process.space)
        self._wake(name)

    def _reap(self, name: int) -> None:
        """Forget a zombie. Its memory went when it ended; the destructor runs once more, for nothing."""
        process = self.processes.pop(name)
        if process.output:
            self.outputs[name] = bytes(process.output)
        if process.keeps_space:
            lifecycle.release(self.machine, process.space)
        if process.space.users == 0:
            lifecycle.tear_down(self.machine, process.space)
