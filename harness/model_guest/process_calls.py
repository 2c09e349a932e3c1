"""System calls by which processes come, run something else, end, and are waited for."""

from __future__ import annotations

from contextlib import suppress

from harness.model_guest import lifecycle, mapping
from harness.model_guest.machine import AddressSpace
from harness.model_guest.pagefault import touch
from harness.model_guest.process_table import Process, ProcessTable, exited, killed, signal_of
from harness.model_guest.trouble import OutOfMemory, Panic, Segfault
from harness.model_guest.uaccess import put_user, signal_page
from harness.program.image import IMAGES, OWN, Image
from harness.program.ops import (
    STATUS_WORD,
    Access,
    Clone,
    Crash,
    Crowd,
    Disperse,
    Exec,
    Exit,
    Fork,
    Handle,
    Handover,
    Kill,
    Leader,
    Limit,
    Reap,
    Refuse,
    Starve,
    Threads,
    Throng,
    Vfork,
    Wait,
)
from harness.program.outcome import (
    Code,
    Done,
    Exited,
    Failed,
    Gone,
    Killed,
    Lost,
    Outcome,
    RanOn,
    Signal,
)
from harness.program.units import PAGE_SIZE

SIGNAL_FRAME = 800
"""The bytes that the kernel stores on the stack for a handler."""


class ProcessCalls(ProcessTable):
    """What the operations on processes do."""

    def _fork_failed(self, errno: str) -> Failed:
        """Give up a fork that had a place in the table already."""
        self.lost_slots += self.machine.has("failed-fork-keeps-slot")  # planted: the error path leaves it taken
        return Failed(errno)

    def _fork(self, op: Fork) -> Outcome:
        if not self._has_slot():
            return Failed("EAGAIN")
        try:
            space = lifecycle.forked_space(self.machine, self._space(op))
        except OutOfMemory:
            return self._fork_failed("ENOMEM")
        self._leak_after_fork()
        self.processes[op.child] = Process(space, parent=op.process, limit=self.processes[op.process].limit)
        return Done()

    def _leak_after_fork(self) -> None:
        """Lose a frame. (Faults, which nothing but the free memory tells.)"""
        self.forks += 1
        is_leak = self.machine.has("fork-leaks-frame")  # planted: the page in which the copying was noted stays
        if is_leak or (self.machine.has("fork-leaks-at-times") and self.forks % 4 == 0):  # planted: once in a while
            self.machine.frames.allocate()

    def _vfork(self, op: Vfork) -> Outcome:
        failed = self._share(op, waits=True)
        if failed is not None:
            return failed
        if self.machine.has("vfork-does-not-suspend"):  # planted: the parent goes on like after a fork
            return RanOn()
        self.processes[op.process].waits_for = op.child
        return Done()

    def _clone(self, op: Clone) -> Outcome:
        return self._share(op, waits=False) or Done()

    def _share(self, op: Vfork | Clone, *, waits: bool) -> Failed | None:
        if not self._has_slot():
            return Failed("EAGAIN")
        try:
            space = lifecycle.shared_space(self.machine, self._space(op), waits=waits)
        except OutOfMemory:
            return self._fork_failed("ENOMEM")
        self.processes[op.child] = Process(space, parent=op.process, limit=self.processes[op.process].limit)
        return None

    def _crowd(self, op: Crowd) -> Outcome:
        return self._gather(op, range(0))

    def _throng(self, op: Throng) -> Outcome:
        return self._gather(op, op.pages.vpns)

    def _gather(self, op: Crowd | Throng, visited: range) -> Outcome:
        """Fork idle children, each of which loads from the pages that are to be visited; all of them, or none."""
        crowd = self.processes[op.process].crowd
        try:
            while len(crowd) < op.count and self._has_slot():
                crowd.append(lifecycle.forked_space(self.machine, self._space(op)))
                self._look_around(crowd[-1], visited)
        except OutOfMemory:
            self._let_crowd_go(op.process)
            return self._fork_failed("ENOMEM")
        finally:
            self.machine.tlb.switch(self._space(op).root)
        if len(crowd) < op.count:
            self._let_crowd_go(op.process)
            return Failed("EAGAIN")
        return Done()

    def _look_around(self, space: AddressSpace, vpns: range) -> None:
        """Let an idle child load from each page, as far as it may. Raises OutOfMemory."""
        if vpns:
            self.machine.tlb.switch(space.root)
        for vpn in vpns:
            with suppress(Segfault):
                touch(self.machine, space, vpn, write=False)

    def _disperse(self, op: Disperse) -> Outcome:
        self._let_crowd_go(op.process)
        return Done()

    def _starve(self, op: Starve) -> Outcome:
        self.machine.frames.left = op.frames
        try:
            space = lifecycle.forked_space(self.machine, self._space(op))
        except OutOfMemory:
            return self._fork_failed("ENOMEM")
        finally:
            self.machine.frames.left = None
        lifecycle.release(self.machine, space)
        return Done()

    def _refuse(self, op: Refuse) -> Outcome:
        space = lifecycle.forked_space(self.machine, self._space(op))
        if not self.machine.has("refused-fork-leaks"):  # planted: that one is too many is found last, and nothing undone
            lifecycle.release(self.machine, space)
        return self._fork_failed("EAGAIN")

    def _limit(self, op: Limit) -> Outcome:
        self.processes[op.process].limit = self.machine.limit = self._space(op).size + op.left
        return Done()

    def _exec(self, op: Exec) -> Outcome:
        process = self.processes[op.process]
        try:
            space = lifecycle.image_space(self.machine, self._image(op))
        except OutOfMemory:
            return Failed("ENOMEM")
        if self.machine.has("exec-keeps-old-mappings"):  # planted: exec unmaps only what is in the new image's way
            lifecycle.keep_old_mappings(self.machine, self._space(op), space)
        # planted: the other threads are gone, and what they held is not
        self._end_threads(process, forgets=self.machine.has("exec-forgets-threads"))
        if self.machine.has("exec-leaks-frame"):  # planted: the page in which the arguments were collected stays
            self.machine.frames.allocate()
        old, process.space = process.space, space
        process.limit = None
        self.machine.tlb.switch(space.root)
        # planted: the thread takes the leader's place, and the leader's hold of the old memory with it
        if not (process.by_thread and self.machine.has("thread-exec-keeps-old-space")):
            lifecycle.release(self.machine, old, live=space)
        process.by_thread = False
        self._wake(op.process)
        return Done()

    def _image(self, op: Exec) -> Image:
        """Give the image that an exec is to run."""
        if self.machine.has("exec-template-of-wrong-image"):  # planted: the layout of the first, p0's, serves for all
            return IMAGES[OWN]
        return IMAGES[op.image]

    def _exit(self, op: Exit) -> Outcome:
        self._end(op.process, exited(op.status))
        return Gone()

    def _crash(self, op: Crash) -> Outcome:
        write = op.access is Access.STORE
        try:
            page = self._page(op, op.at, write=write)
        except Segfault as fault:
            if fault.code is Code.MAPERR and self.machine.has("segv-panics"):  # planted: the VMA is looked at
                raise Panic("the VMA of a fault is not there") from None
            self._end(op.process, killed(signal_of(fault)))
            self._notify(self.processes[op.process].parent)
            return Gone()
        if write:
            page[op.at.offset] = 0
        self._end(op.process, killed(Signal.SIGKILL))
        return Gone()

    def _handle(self, op: Handle) -> Outcome:
        try:
            page = signal_page(self.machine, self._space(op), op.at.vpn)
            page[-SIGNAL_FRAME:] = b"\x5f" * SIGNAL_FRAME
            self._page(op, op.at, write=True)[:] = bytes(PAGE_SIZE)
            signal = Signal.SIGKILL
        except Segfault:
            signal = Signal.SIGSEGV
        self._end(op.process, killed(signal))
        return Gone()

    def _threads(self, op: Threads) -> Outcome:
        process = self.processes[op.process]
        process.threads += op.count
        process.space.users += op.count
        return Done()

    def _handover(self, op: Handover) -> Outcome:
        process = self.processes[op.process]
        process.by_thread = True
        process.space.users += 1
        if op.leader is Leader.SLEEPS:
            process.threads += 1
            return Done()
        if self.machine.has("leader-exit-ends-process"):  # planted: exit is exit_group
            self._end(op.process, exited(0))
            return Lost("ended with its first thread")
        if not self.machine.has("leader-exit-keeps-hold"):  # planted: the hold is the process's, and goes with it
            process.space.users -= 1
        if self.machine.has("leader-exit-drops-space"):  # planted: the leader unmaps all, as if it were the last
            for vma in list(process.space.vmas):
                mapping.drop_pages(self.machine, process.space, vma.vpns)
        return Done()

    def _kill(self, op: Kill) -> Outcome:
        victim = self.processes.get(op.victim)
        if victim is None:
            return (
                Done() if self.machine.has("kill-finds-nobody") else Failed("ESRCH")
            )  # planted: it is dead, as was asked for
        if victim.status is not None:
            return self._kill_again(victim)
        if self.machine.has("kill-skips-teardown"):  # planted: only who runs gives its memory back
            victim.space.users += 1
        if self.machine.has("kill-drops-twice") and victim.space.users > 1:  # planted: by the killer, and by the killed
            victim.space.users -= 1
        signal = Signal.SIGKILL
        if self.machine.has("kill-reports-sigsegv"):  # planted: it is ended like one that made a wrong access
            signal = Signal.SIGSEGV
        self._end(op.victim, killed(signal))
        return Done()

    def _kill_again(self, zombie: Process) -> Outcome:
        """Send a signal to a process that has ended."""
        if self.machine.has("kill-misses-zombie"):  # planted: who runs no more is not found
            return Failed("ESRCH")
        if self.machine.has("kill-of-zombie-tells-signal"):  # planted: the status is that of the last death
            zombie.status = killed(Signal.SIGKILL)
        if self.machine.has("kill-of-zombie-drops-again"):  # planted: nobody asks whether it has let go already
            lifecycle.release(self.machine, zombie.space)
        return Done()

    def _notify(self, parent: int | None) -> None:
        """Tell a parent that its child was killed; it takes no notice."""
        if parent in self.live and self.machine.has("sigchld-kills"):  # planted: it gets the child's signal
            self._end(parent, killed(Signal.SIGKILL))

    def _wait(self, op: Wait) -> Outcome:
        child = self.processes.get(op.child)
        if child is None or child.status is None:
            return Failed("ECHILD")
        status = child.status
        self._reap(op.child)
        signal = status & 0x7F
        if signal and self.machine.has("wait-status-wrong"):  # planted: put where a status goes
            status, signal = exited(signal), 0
        return Killed(Signal(signal)) if signal else Exited(status >> 8)

    def _reap_into(self, op: Reap) -> Outcome:
        child = self.processes.get(op.child)
        if child is None or child.status is None:
            return Failed("ECHILD")
        stored = put_user(self.machine, self._space(op), op.at, child.status.to_bytes(STATUS_WORD, "little"))
        if stored or not self.machine.has("reap-efault-keeps-zombie"):  # planted: an error has changed nothing
            self._reap(op.child)
        return Done() if stored else Failed("EFAULT")
