"""System calls in which the kernel reads, writes or holds the memory of a process, or a page of a file."""

from __future__ import annotations

from harness.model_guest import file_calls
from harness.model_guest.holes import punch
from harness.model_guest.process_table import ProcessTable
from harness.model_guest.trouble import Segfault
from harness.model_guest.uaccess import (
    Pipe,
    copy_to_user,
    load_remote,
    readable,
    register_buffer,
    store_remote,
    unregister_buffer,
)
from harness.program.ops import (
    ANSWERS,
    Ask,
    Copyrange,
    Deliver,
    Feed,
    Fix,
    Force,
    Peek,
    Pin,
    Poke,
    Punch,
    Query,
    Read,
    Readv,
    Receive,
    Sendfile,
    Splice,
    Truncate,
    Unfix,
    Unlink,
    Unpin,
    Write,
)
from harness.program.outcome import (
    Done,
    Failed,
    Loaded,
    Outcome,
    Printed,
    Received,
)
from harness.program.units import PAGE_SIZE


class KernelAccess(ProcessTable):
    """What the operations do that move bytes by the kernel."""

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

    def _poke(self, op: Poke) -> Outcome:
        space = self.processes[op.victim].space
        if self.machine.has("poke-writes-caller"):  # planted: it goes to the address space that is loaded
            space = self._space(op)
        if self.machine.has("poke-asks-caller") and self._space(op).vmas.find(op.at.vpn) is None:
            return Failed("EIO")  # planted: whether there is a mapping is looked up in that of the caller
        self.machine.tlb.switch(space.root)  # else what is looked up for another would be found for the caller
        done = store_remote(self.machine, space, op.at, bytes([op.value]) * op.length)
        self.machine.tlb.switch(self._space(op).root)
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
            pfn = readable(self.machine, self._space(op), op.at.vpn)
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
        file_calls.truncate(self.machine, self._spaces(op), self.machine.files.open(op.file), op.size)
        return Done()

    def _punch(self, op: Punch) -> Outcome:
        if op.end <= op.start:
            return Failed("EINVAL")
        punch(self.machine, self._spaces(op), self.machine.files.open(op.file), op.start, op.end)
        return Done()

    def _unlink(self, op: Unlink) -> Outcome:
        return Done() if file_calls.unlink(self.machine, self.machine.files.open(op.file)) else Failed("ENOENT")
