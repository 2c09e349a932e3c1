"""write: pwrite(2) from memory to a file; the kernel reads on the process's behalf."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import kernel_refusal, readings
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.syscalls.truncate import grow
from harness.model.user_memory import Piece, Transfer, after, page_by_page, reach
from harness.program.ops import Access, Write
from harness.program.outcome import Failed, Printed
from harness.program.units import PAGE_SIZE

_EFAULT = Allowed((Failed("EFAULT"),), "write(2), EFAULT: buf is outside your accessible address space")


def write(machine: Machine, op: Write) -> Allowed:
    """Copy memory into the file, page by page of it, up to the first page of memory that may not be read.

    The bytes go into the page cache's frames, so all who map them see them at once: shared mappings by right, private
    ones as long as they have not copied the page, which a kernel may do early (`file_copies`).
    The file is as long as the last byte written at least, after each page.

    Source: write(2); generic_perform_write, fault_in_iov_iter_readable, shmem_write_begin, shmem_write_end.
    """
    process = machine.process(op.process)

    # CHECKS
    has_pages = op.at.offset + op.length > PAGE_SIZE
    if has_pages and not machine.semantics.copy_stops_at_refused_page and _is_refused(machine, process, op):
        machine.reach["write.efault"] += 1
        return _EFAULT
    # else none before the copy: the file is open for writing, and no limit is near.

    # EFFECT
    if machine.semantics.failed_write_extends:
        _reach_out(machine, op)
    done, transfer = 0, Transfer()
    while done < op.length:
        part = min(op.length - done, PAGE_SIZE - (op.offset + done) % PAGE_SIZE)
        copied = _copy_in(machine, process, op, range(done, done + part), transfer)
        done += copied
        if not copied:
            break
    if transfer.meets_itself():
        machine.end_of_knowledge("a file is written from a mapping of the same bytes, and nobody says in which order")

    # OUTCOME
    if not done:
        machine.reach["write.efault"] += 1
        return _EFAULT
    machine.reach["write" if done == op.length else "write.short"] += 1
    return Allowed((Printed(done),), "write(2): the number of bytes written, fewer at the end of the buffer")


def _reach_out(machine: Machine, op: Write) -> None:
    """Take a page for the beginning of what is to be written, and let the file reach up to there."""
    file = machine.cache.file(op.file)
    machine.cache.frame(file.name, op.offset // PAGE_SIZE)
    if op.offset > file.size:
        grow(machine, file, op.offset)


def _is_refused(machine: Machine, process: Process, op: Write) -> bool:
    """Tell whether any of the memory may not be read."""
    return any(kernel_refusal(machine, process, place, Access.LOAD) for place, _ in page_by_page(op.at, op.length))


def _copy_in(machine: Machine, process: Process, op: Write, part: range, transfer: Transfer) -> int:
    """Copy a `part` of all the bytes, which goes to one page of the file; give how many could be copied."""
    file = machine.cache.file(op.file)
    start = op.offset + part.start
    sources = reach(machine, process, after(op.at, part.start), len(part), Access.LOAD)
    copied = sum(source.length for source in sources)
    if not copied or (copied < len(part) and machine.semantics.write_wants_whole_part):
        return 0
    reached = page_by_page(after(op.at, part.start), copied)
    data = b"".join(machine.only(readings(machine, process, place, length)) for place, length in reached)
    if start + copied > file.size:
        grow(machine, file, start + copied)
    target = Piece(machine.cache.frame(file.name, start // PAGE_SIZE), start % PAGE_SIZE, copied)
    transfer.sources += sources
    transfer.targets.append(target)
    target.frame.write(target.offset, data)
    return copied
