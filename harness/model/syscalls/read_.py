"""read: pread(2) of a file into memory; the kernel stores on the process's behalf."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.user_memory import Piece, after, reach
from harness.program.ops import Access, Read
from harness.program.outcome import Failed, Received
from harness.program.units import PAGE_SIZE

_EFAULT = Allowed((Failed("EFAULT"),), "read(2), EFAULT: buf is outside your accessible address space")


def read(machine: Machine, op: Read) -> Allowed:
    """Copy bytes of the file into memory, up to the end of the file or the first page that may not be written.

    The file goes by pages, and so does the copy: a hole reads zero and stays a hole. The bytes that a shared mapping
    stored behind the end are not the file's.

    Source: read(2); shmem_file_read_iter, copy_page_to_iter; filemap_read.
    """
    process = machine.process(op.process)
    file = machine.cache.file(op.file)

    # CHECKS
    wanted = max(0, min(op.length, file.size - op.offset))

    # EFFECT
    done = 0
    while done < wanted:
        part = min(wanted - done, PAGE_SIZE - (op.offset + done) % PAGE_SIZE)
        stored = _copy_out(machine, process, op, done, part)
        done += stored
        if stored < part:
            break

    # OUTCOME
    if wanted and not done:
        machine.reach["read.efault"] += 1
        return _EFAULT
    machine.reach["read" if done == op.length else "read.short"] += 1
    return Allowed((Received(done),), "read(2): the number of bytes read, fewer at the end of the file or of the buffer")


def _copy_out(machine: Machine, process: Process, op: Read, done: int, part: int) -> int:
    """Copy `part` bytes, which lie in one page of the file, to where the `done` bytes before them end."""
    index, start = divmod(op.offset + done, PAGE_SIZE)
    targets = reach(machine, process, after(op.at, done), part, Access.STORE)
    source = machine.cache.frames.get((op.file, index))
    if source is not None and any(Piece(source, start, part).overlaps(target) for target in targets):
        machine.end_of_knowledge("a file is read into a mapping of the same bytes, and nobody says in which order")
    data = machine.cache.content(op.file, index)[start : start + part]
    for target in targets:
        target.frame.write(target.offset, data[: target.length])
        data = data[target.length :]
    return sum(target.length for target in targets)
