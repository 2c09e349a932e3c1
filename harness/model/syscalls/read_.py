"""read and readv: pread(2) and preadv(2) of a file into memory; the kernel stores on the process's behalf."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.user_memory import Piece, Transfer, after, is_refused_whole, reach
from harness.program.ops import Access, Read, Readv
from harness.program.outcome import Failed, Received
from harness.program.units import PAGE_SIZE, Address

_EFAULT = Allowed((Failed("EFAULT"),), "read(2), EFAULT: buf is outside your accessible address space")


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of a file: `length` of them, from byte `offset` on."""

    file: str
    offset: int
    length: int


def read(machine: Machine, op: Read) -> Allowed:
    """Copy bytes of the file into memory, up to the end of the file or the first page that may not be written.

    The file goes by pages, and so does the copy: a hole reads zero and stays a hole. The bytes that a shared mapping
    stored behind the end are not the file's.

    Source: read(2); shmem_file_read_iter, copy_page_to_iter; filemap_read.
    """
    process = machine.process(op.process)

    # CHECKS
    wanted = _left(machine, op.file, op.offset, op.length)
    if is_refused_whole(machine, process, op.at, op.length, copied=wanted):
        return _EFAULT
    # else none of its own: the copy meets the end of the file, and what may not be stored to.

    # EFFECT
    transfer = Transfer()
    done = _copy_out(machine, process, _Part(op.file, op.offset, wanted), op.at, transfer)
    _heed_order(machine, transfer)

    # OUTCOME
    return _outcome(machine, wanted, done, op.length)


def readv(machine: Machine, op: Readv) -> Allowed:
    """Copy bytes of the file into one range of memory, and what follows into the next, as one read would into both.

    A range that cannot be filled is the last: what comes after it stays as it is.

    Source: readv(2): "buffers are processed in array order"; import_iovec, iterate_and_advance, which stops at a fault.
    """
    process = machine.process(op.process)

    # CHECKS
    wanted = _left(machine, op.file, op.offset, 2 * op.length)
    first = min(wanted, op.length)
    if is_refused_whole(machine, process, op.at, op.length, copied=first):
        return _EFAULT
    # else none of its own: the copy meets the end of the file, and what may not be stored to.

    # EFFECT
    transfer = Transfer()
    done = _copy_out(machine, process, _Part(op.file, op.offset, first), op.at, transfer)
    if done == op.length and not is_refused_whole(machine, process, op.then, op.length, copied=wanted - first):
        done += _copy_out(machine, process, _Part(op.file, op.offset + first, wanted - first), op.then, transfer)
    _heed_order(machine, transfer)

    # OUTCOME
    return _outcome(machine, wanted, done, 2 * op.length)


def _left(machine: Machine, file: str, offset: int, length: int) -> int:
    """Give how many of `length` bytes from `offset` on the file has."""
    return max(0, min(length, machine.cache.file(file).size - offset))


def _outcome(machine: Machine, wanted: int, done: int, length: int) -> Allowed:
    if wanted and not done:
        machine.reach["read.efault"] += 1
        return _EFAULT
    machine.reach["read" if done == length else "read.short"] += 1
    clause = "read(2): the number of bytes read, fewer at the end of the file or of the buffer"
    least = _least_count(machine, done) if done < wanted else done
    return Allowed(tuple(Received(count) for count in range(done, least - 1, -1)), clause)


def _least_count(machine: Machine, done: int) -> int:
    """Give how many bytes a copy that a refusal ended after `done` bytes may call stored: of two units at a time, both.

    Source: copy_template.S of arm64 and its user_stp, two stores; fixup of __arch_copy_to_user, which tries one byte more
    where there was none.
    """
    unit = machine.semantics.copy_unit
    return max(1, done - 2 * unit + 1) if unit > 1 else done


def _heed_order(machine: Machine, transfer: Transfer) -> None:
    if transfer.meets_itself():
        machine.end_of_knowledge("a file is read into a mapping of the same bytes, and nobody says in which order")


def _copy_out(machine: Machine, process: Process, source: _Part, at: Address, transfer: Transfer) -> int:
    """Copy bytes of the file, page of it by page, to memory from `at` on; give how many were stored."""
    done = 0
    while done < source.length:
        start = source.offset + done
        part = _Part(source.file, start, min(source.length - done, PAGE_SIZE - start % PAGE_SIZE))
        stored = _copy_page(machine, process, part, after(at, done), transfer)
        done += stored
        if stored < part.length:
            break
    return done


def _copy_page(machine: Machine, process: Process, part: _Part, at: Address, transfer: Transfer) -> int:
    """Copy bytes that lie in one page of the file to `at`."""
    index, start = divmod(part.offset, PAGE_SIZE)
    targets = reach(machine, process, at, part.length, Access.STORE)
    source = machine.cache.frames.get((part.file, index))
    if source is not None:
        transfer.sources.append(Piece(source, start, part.length))
    transfer.targets += targets
    data = machine.only(machine.cache.contents(part.file, index))[start : start + part.length]
    stored = sum(target.length for target in targets)
    for target in targets:
        is_cut = target is targets[-1] and stored < part.length
        missing = min(machine.semantics.copy_unit, target.length) - 1 if is_cut else 0
        target.frame.write_some(target.offset, data[: target.length], least=target.length - missing)
        data = data[target.length :]
    return stored
