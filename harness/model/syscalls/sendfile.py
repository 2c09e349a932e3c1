"""sendfile: sendfile(2) from one file to another; the kernel stores to memory that processes may have mapped."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.syscalls.truncate import grow
from harness.program.ops import Sendfile
from harness.program.outcome import Received
from harness.program.units import PAGE_SIZE

_CLAUSE = "sendfile(2): the number of bytes written to out_fd, fewer at the end of the file"


def sendfile(machine: Machine, op: Sendfile) -> Allowed:
    """Copy bytes from file to file, as a read and a write would do, up to the end of the first.

    The bytes are copied: the two files share no page afterwards, whatever went through the pipe in between. They go to
    the frames that the page cache has of `into`, and so to all who map them. A hole reads zero and stays a hole.
    A file that is sent to its own end grows meanwhile: Linux goes on with what it has just written there.

    Source: sendfile(2); splice_direct_to_actor, generic_file_splice_read, iter_file_splice_write.
    """
    machine.process(op.process)
    source = machine.cache.file(op.file)

    # CHECKS
    # none: both files are open, and no limit is near.

    # EFFECT
    length = max(0, min(op.length, source.size - op.offset))
    if op.file == op.into and abs(op.offset - op.at) < length:
        machine.end_of_knowledge("bytes of a file are sent over themselves, and nobody says in which order")
    grows_itself = op.file == op.into and 0 < length < op.length and op.at + length > source.size
    if grows_itself:
        machine.end_of_knowledge("a file grows by what is sent of it, and nobody says whether that is sent, too")
    copy_between_files(machine, op, length)
    machine.reach["sendfile" if length == op.length else "sendfile.short"] += 1

    # OUTCOME
    if grows_itself:
        return Allowed((Received(length), Received(op.length)), _CLAUSE)
    return Allowed((Received(length),), _CLAUSE)


def copy_between_files(machine: Machine, op: Sendfile, length: int) -> None:
    """Copy the first `length` bytes of what `op` names, all of which `op.file` has."""
    target = machine.cache.file(op.into)
    data = _bytes(machine, op.file, op.offset, length)
    if length and op.at + length > target.size:
        grow(machine, target, op.at + length)
    done = 0
    while done < length:
        index, start = divmod(op.at + done, PAGE_SIZE)
        part = data[done : done + PAGE_SIZE - start]
        machine.cache.frame(op.into, index).write(start, part)
        done += len(part)


def _bytes(machine: Machine, file: str, offset: int, length: int) -> bytes:
    """Give bytes of a file, and leave its holes holes."""
    first, last = offset // PAGE_SIZE, -(-(offset + length) // PAGE_SIZE)
    whole = b"".join(machine.only(machine.cache.contents(file, index)) for index in range(first, last))
    return whole[offset % PAGE_SIZE :][:length]
