"""Processes, and what each operation of a program does to them.

The kernel runs on one CPU, and one process at a time; the operations come in the order of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from harness.model_guest import file_calls, lifecycle, mapping
from harness.model_guest.advice import advise
from harness.model_guest.machine import AddressSpace, Machine, boot
from harness.model_guest.pagefault import touch, translate
from harness.model_guest.trouble import OutOfMemory, Panic, Segfault
from harness.model_guest.uaccess import (
    Pipe,
    copy_to_user,
    load_remote,
    put_user,
    register_buffer,
    store_remote,
    unregister_buffer,
)
from harness.model_guest.vmas import GROWS_DOWN, NEVER_WRITABLE, Vma
from harness.program.files import FILES, STACK
from harness.program.image import IMAGES, OWN, Image
from harness.program.ops import (
    ANSWERS,
    STATUS_WORD,
    Access,
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
    Handover,
    Kill,
    Leader,
    Limit,
    Load,
    Map,
    Mirror,
    Misuse,
    Op,
    Opened,
    Peek,
    Pin,
    Placement,
    Print,
    Protect,
    Query,
    Read,
    Readv,
    Reap,
    Receive,
    Refuse,
    Remap,
    Scratch,
    Sendfile,
    Sharing,
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
    Code,
    Done,
    Exited,
    Failed,
    Faulted,
    Gone,
    Killed,
    Loaded,
    Lost,
    Outcome,
    Printed,
    RanOn,
    Received,
    Signal,
)
from harness.program.units import PAGE_SIZE, Address

REFUSALS = {
    Misuse.MAP_BAD_FILE: "EBADF",
    Misuse.MAP_BEYOND: "ENOMEM",
    Misuse.MAP_HUGE: "ENOMEM",
    Misuse.WAIT_NOBODY: "ECHILD",
    Misuse.READ_BAD_FILE: "EBADF",
    Misuse.WRITE_BAD_FILE: "EBADF",
    Misuse.CLOSE_BAD_FILE: "EBADF",
    Misuse.PIPE_BAD_POINTER: "EFAULT",
    Misuse.EXEC_MISSING: "ENOENT",
}
"""How a misuse fails; with EINVAL where it is not named."""


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


def exited(status: int) -> int:
    """Give the wait status word of a normal exit, as wait(2) lays it out."""
    return status << 8


def killed(signal: Signal) -> int:
    """Give the wait status word of death by a signal."""
    return signal.value


class Kernel:
    """A booted kernel. It keeps its state from program to program, as a machine does."""

    def __init__(self, total_frames: int, planted: frozenset[str], *, prefaults: bool = False) -> None:
        self.machine: Machine = boot(total_frames, planted, prefaults=prefaults)
        self.processes: dict[int, Process] = {}
        self.outputs: dict[int, bytes] = {}
        self.unreaped = 0
        self.lost_slots = 0
        """Places in the table of processes that nobody has, and that are not free."""
        self.pipe = Pipe(self.machine)
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
            Wait: self._wait,
            Remap: self._remap,
            Receive: self._receive,
            Ask: self._ask,
            Reap: self._reap_into,
            Force: self._force,
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
            Unlink: self._unlink,
            Sync: self._sync,
        }

    # ------------------------------------------------------------------------ around a program

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

    @property
    def live(self) -> list[int]:
        """The names of the processes that have not ended."""
        return [name for name, process in self.processes.items() if process.status is None]

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

    # -------------------------------------------------------------------------------- mappings

    def _map(self, op: Map) -> Outcome:
        shared = op.sharing is Sharing.SHARED
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("mmap-rounds-down"))  # planted: see there
        may_go_there = mapping.is_free_for(self.machine, self._space(op), vpns, op.placement)
        if not may_go_there and op.placement is Placement.NOREPLACE:
            return Failed("EEXIST")
        if op.backing.name == STACK and shared:
            return Failed("EINVAL")
        if not mapping.is_open_for(self.machine, op.backing.opened, op.prot, shared=shared):
            return Failed("EACCES")
        if not may_go_there:  # it goes elsewhere, if anywhere, and the caller takes it away again
            return Failed("EEXIST" if self.machine.may_expand(self._space(op), len(vpns)) else "ENOMEM")
        if not mapping.may_replace(self.machine, self._space(op), vpns):
            return Failed("ENOMEM")
        if op.backing.name in FILES:
            file = self.machine.files.open(op.backing.name)
            flags = NEVER_WRITABLE if shared and op.backing.opened is Opened.READ else 0
            vma = Vma(vpns.start, vpns.stop, op.prot, op.backing.pgoff, file, shared, flags)
            mapping.map_(self.machine, self._space(op), vma)
        elif shared:
            mapping.map_shared(self.machine, self._space(op), vpns, op.prot)
        else:
            flags = GROWS_DOWN if op.backing.name == STACK else 0
            mapping.map_anonymous(self.machine, self._space(op), vpns, op.prot, flags=flags)
        return Done()

    def _mirror(self, op: Mirror) -> Outcome:
        done = (self._map(part) for part in op.parts)
        return next((outcome for outcome in done if outcome != Done()), Done())

    def _unmap(self, op: Unmap) -> Outcome:
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("munmap-rounds-down"))  # planted: see there
        mapping.unmap(self.machine, self._space(op), vpns)
        return Done()

    def _protect(self, op: Protect) -> Outcome:
        if not op.pages.length and self.machine.has("mprotect-refuses-length-0"):  # planted: it is taken for a mistake
            return Failed("EINVAL")
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("mprotect-rounds-down"))  # planted: see there
        errno = mapping.protect(self.machine, self._space(op), vpns, op.prot)
        if errno == "ENOMEM" and self.machine.has("mprotect-forgives-holes"):  # planted: what is not mapped is passed over
            errno = ""
        return Failed(errno) if errno else Done()

    def _remap(self, op: Remap) -> Outcome:
        down = self.machine.has("mremap-rounds-down")  # planted: see mapping.rounded
        old, new = (mapping.rounded(self.machine, each, down=down) for each in (op.pages, op.to))
        errno = mapping.remap(self.machine, self._space(op), old, new)
        return Failed(errno) if errno else Done()

    def _advise(self, op: Advise) -> Outcome:
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("madvise-rounds-down"))  # planted: see there
        errno = advise(self.machine, self._space(op), vpns, op.advice)
        return Failed(errno) if errno else Done()

    def _brk(self, op: Brk) -> Outcome:
        moved = mapping.move_break(self.machine, self._space(op), op.at.vpn * PAGE_SIZE + op.at.offset)
        return Done() if moved else Failed("ENOMEM")

    def _scratch(self, op: Scratch) -> Outcome:
        machine, space = self.machine, self._space(op)
        if not machine.may_expand(space, op.npages):
            return Failed("ENOMEM")
        chosen = [mapping.map_anywhere(machine, space, npages) for npages in (op.npages - 1 or 1, op.npages > 1) if npages]
        for vpn in (vpn for vpns in chosen for vpn in vpns):
            page = machine.frames[touch(machine, space, vpn, write=True)].data
            if any(page):
                return Loaded(next(filter(None, page)))
            page[:] = b"\x5c" * PAGE_SIZE
        for vpns in chosen:
            mapping.unmap(machine, space, vpns)
        return Done()

    def _try(self, op: Try) -> Outcome:
        if op.misuse is Misuse.UNMAP_LENGTH_0 and self.machine.has("errno-wrong"):  # planted: nothing is no error
            return Done()
        return Failed(REFUSALS.get(op.misuse, "EINVAL"))

    def _space(self, op: Op) -> AddressSpace:
        return self.processes[op.process].space

    # -------------------------------------------------------------------------------- accesses

    def _load(self, op: Load) -> Outcome:
        try:
            return Loaded(self._page(op, op.at, write=False)[op.at.offset])
        except Segfault as fault:
            return _faulted(fault, op.at)

    def _store(self, op: Store) -> Outcome:
        space, is_lost = self._space(op), False
        if self.machine.has("store-lost-in-fault"):  # planted: the store is not done again after the first fault
            is_lost = translate(self.machine, space, op.at.vpn) == self.machine.zero_pfn
        try:
            page = self._page(op, op.at, write=True)
        except Segfault as fault:
            return _faulted(fault, op.at)
        if not is_lost:
            page[op.at.offset] = op.value
        return Done()

    def _fill(self, op: Fill) -> Outcome:
        try:
            self._page(op, op.at, write=True)[:] = bytes([op.value]) * PAGE_SIZE
        except Segfault as fault:
            return _faulted(fault, op.at)
        return Done()

    def _print(self, op: Print) -> Outcome:
        try:
            page = self._page(op, op.at, write=False)
        except Segfault:
            return Failed("EFAULT")
        if self.machine.has("print-reads-the-file"):  # planted: a file page's bytes come from the cache
            vma = self._space(op).vmas.find(op.at.vpn)
            file_page = vma.file_page(op.at.vpn) if vma else None
            cached = vma.file.lookup(file_page) if vma and vma.file and file_page is not None else None
            page = page if cached is None else self.machine.frames[cached].data
        self.processes[op.process].output += page[op.at.offset : op.at.offset + op.length]
        return Printed(op.length)

    def _page(self, op: Op, at: Address, *, write: bool) -> bytearray:
        pfn = touch(self.machine, self._space(op), at.vpn, write=write)
        return self.machine.frames[pfn].data

    # ------------------------------------------------------------------- the kernel's own stores

    def _receive(self, op: Receive) -> Outcome:
        done = copy_to_user(self.machine, self._space(op), op.at, bytes([op.value]) * op.length)
        return Received(op.length) if done >= op.length else Failed("EFAULT")

    def _ask(self, op: Ask) -> Outcome:
        if op.query is Query.CWD_SHORT:
            return Failed("ERANGE")
        answer = ANSWERS[op.query]
        done = copy_to_user(self.machine, self._space(op), op.at, answer)
        return Done() if done >= len(answer) else Failed("EFAULT")

    def _force(self, op: Force) -> Outcome:
        done = store_remote(self.machine, self._space(op), op.at, bytes([op.value]) * op.length)
        return Done() if done == op.length else Printed(done) if done else Failed("EIO")

    def _peek(self, op: Peek) -> Outcome:
        data = load_remote(self.machine, self._space(op), op.at, op.length)
        self.processes[op.process].output += data
        return Printed(len(data)) if data else Failed("EIO")

    def _is_mapped(self, op: Pin | Fix) -> bool:
        """Tell whether the page is in a VMA as it is: the stack does not grow for one who only takes a page."""
        return self._space(op).vmas.find(op.at.vpn) is not None

    def _pin(self, op: Pin) -> Outcome:
        if len(self.pipe.spliced) >= Pipe.SLOTS:
            return Failed("EAGAIN")
        if not self._is_mapped(op):
            return Failed("EFAULT")
        try:
            pfn = touch(self.machine, self._space(op), op.at.vpn, write=False)
        except Segfault:
            return Failed("EFAULT")
        self.pipe.push(pfn, op.at.offset)
        return Done()

    def _splice(self, op: Splice) -> Outcome:
        if len(self.pipe.spliced) >= Pipe.SLOTS:
            return Failed("EAGAIN")
        file = self.machine.files.open(op.file)
        if op.offset >= file.size:
            return Received(0)
        page, offset = divmod(op.offset, PAGE_SIZE)
        pfn = file.lookup(page)
        merges = self.machine.has("splice-takes-more")  # planted: the mark of the buffer's last use is still there
        self.pipe.push(self.machine.zero_pfn if pfn is None else pfn, offset, takes_more=merges)
        return Received(1)

    def _feed(self, op: Feed) -> Outcome:
        if len(self.pipe.spliced) >= Pipe.SLOTS:
            return Failed("EAGAIN")
        self.pipe.feed(op.value)
        return Done()

    def _unpin(self, _op: Unpin) -> Outcome:
        return Loaded(self.pipe.pop()) if self.pipe.spliced else Failed("EAGAIN")

    def _fix(self, op: Fix) -> Outcome:
        if self.machine.fixed is not None:
            return Failed("EBUSY")
        if not self._is_mapped(op):
            return Failed("EFAULT")
        try:
            register_buffer(self.machine, self._space(op), op.at.vpn)
        except Segfault:
            return Failed("EFAULT")
        return Done()

    def _deliver(self, op: Deliver) -> Outcome:
        fixed = self.machine.fixed
        if fixed is None or fixed.vpn != op.at.vpn:
            return Failed("EFAULT")
        self.machine.frames[fixed.pfn].data[op.at.offset] = op.value
        return Done()

    def _unfix(self, _op: Unfix) -> Outcome:
        if self.machine.fixed is None:
            return Failed("ENXIO")
        unregister_buffer(self.machine)
        return Done()

    # ----------------------------------------------------------------------------------- files

    def _read(self, op: Read) -> Outcome:
        done = file_calls.read(self.machine, self._space(op), self.machine.files.open(op.file), op)
        return Failed("EFAULT") if done is None else Received(done)

    def _readv(self, op: Readv) -> Outcome:
        done = file_calls.readv(self.machine, self._space(op), self.machine.files.open(op.file), op)
        return Failed("EFAULT") if done is None else Received(done)

    def _sendfile(self, op: Sendfile) -> Outcome:
        files = self.machine.files
        return Received(file_calls.sendfile(self.machine, files.open(op.file), files.open(op.into), op))

    def _copyrange(self, op: Copyrange) -> Outcome:
        files = self.machine.files
        done = file_calls.copyrange(self.machine, files.open(op.file), files.open(op.into), op)
        return Failed("EINVAL") if done is None else Received(done)

    def _write(self, op: Write) -> Outcome:
        done = file_calls.write(self.machine, self._space(op), self.machine.files.open(op.file), op)
        return Failed("EFAULT") if done is None else Printed(done)

    def _truncate(self, op: Truncate) -> Outcome:
        spaces = {id(space): space for name in self.live if (space := self.processes[name].space)}
        file_calls.truncate(self.machine, spaces.values(), self.machine.files.open(op.file), op.size)
        return Done()

    def _unlink(self, op: Unlink) -> Outcome:
        return Done() if file_calls.unlink(self.machine, self.machine.files.open(op.file)) else Failed("ENOENT")

    def _sync(self, op: Sync) -> Outcome:
        vmas = self._space(op).vmas
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("msync-rounds-down"))  # planted: see there
        return Done() if all(vmas.find(vpn) for vpn in vpns) else Failed("ENOMEM")

    # ---------------------------------------------------------------------------- life and death

    def _has_slot(self) -> bool:
        """Tell whether one more process fits into the table."""
        taken = len(self.processes) + sum(len(each.crowd) for each in self.processes.values())
        return taken + self.lost_slots < MAX_PROCESSES

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
        self.processes[op.child] = Process(space, parent=op.process, limit=self.processes[op.process].limit)
        return Done()

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
        crowd = self.processes[op.process].crowd
        try:
            while len(crowd) < op.count and self._has_slot():
                crowd.append(lifecycle.forked_space(self.machine, self._space(op)))
        except OutOfMemory:
            self._let_crowd_go(op.process)
            return self._fork_failed("ENOMEM")
        if len(crowd) < op.count:
            self._let_crowd_go(op.process)
            return Failed("EAGAIN")
        return Done()

    def _throng(self, op: Throng) -> Outcome:
        crowd = self.processes[op.process].crowd
        try:
            while len(crowd) < op.count and self._has_slot():
                crowd.append(lifecycle.forked_space(self.machine, self._space(op)))
                self._look_around(crowd[-1], op.pages.vpns)
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
        self.processes[op.process].limit = self.machine.limit = self._space(op).vmas.npages + op.left
        return Done()

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
            self._end(op.process, killed(_signal(fault)))
            self._notify(self.processes[op.process].parent)
            return Gone()
        if write:
            page[op.at.offset] = 0
        self._end(op.process, killed(Signal.SIGKILL))
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

    def _end_threads(self, process: Process, *, forgets: bool) -> None:
        """End all threads of a process but the one that acts; each lets go of the address space once."""
        if not forgets:
            process.space.users -= process.threads
        process.threads = 0

    def _kill(self, op: Kill) -> Outcome:
        victim = self.processes[op.victim]
        if self.machine.has("kill-skips-teardown"):  # planted: only who runs gives its memory back
            victim.space.users += 1
        if self.machine.has("kill-drops-twice") and victim.space.users > 1:  # planted: by the killer, and by the killed
            victim.space.users -= 1
        signal = Signal.SIGKILL
        if self.machine.has("kill-reports-sigsegv"):  # planted: it is ended like one that made a wrong access
            signal = Signal.SIGSEGV
        self._end(op.victim, killed(signal))
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

    def _end(self, name: int, status: int) -> None:
        """Turn a process into a zombie: its memory goes now, its status stays."""
        process = self.processes[name]
        process.status = status
        # planted: only the thread that ends the process lets go
        self._end_threads(process, forgets=self.machine.has("exit-forgets-threads"))
        self.machine.tlb.switch(None)
        if process.by_thread and process.space.users > 1 and self.machine.has("thread-exit-drops-twice"):
            process.space.users -= 1  # planted: once as a thread, and once as the process
        lifecycle.release(self.machine, process.space)
        self._wake(name)

    def _reap(self, name: int) -> None:
        """Forget a zombie. Its memory went when it ended; the destructor runs once more, for nothing."""
        process = self.processes.pop(name)
        if process.output:
            self.outputs[name] = bytes(process.output)
        if process.space.users == 0:
            lifecycle.tear_down(self.machine, process.space)


def _signal(fault: Segfault) -> Signal:
    return fault.code.value[0]


def _faulted(fault: Segfault, at: Address) -> Faulted:
    return Faulted(_signal(fault), fault.code, at)
