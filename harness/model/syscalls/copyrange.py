"""copyrange: copy_file_range(2); the kernel stores to memory that processes may have mapped."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.model.syscalls.sendfile import copy_between_files
from harness.program.files import FILES
from harness.program.ops import Copyrange
from harness.program.outcome import Failed, Received

_CLAUSE = "copy_file_range(2): the number of bytes copied, fewer at the end of the file"
_EINVAL = Allowed((Failed("EINVAL"),), "copy_file_range(2), EINVAL: one file, and the source and target ranges overlap")
_EXDEV = Allowed((Failed("EXDEV"),), "copy_file_range(2), EXDEV: not on the same mounted filesystem")


def copyrange(machine: Machine, op: Copyrange) -> Allowed:
    """Copy bytes from file to file, up to the end of the first.

    The bytes go to the frames that the page cache has of `into`, and so to all who map them; the two files share no page
    afterwards, since the file systems that hold them have no blocks to share. A hole reads zero and stays a hole.

    What is behind the end of the file is not copied, and so overlaps nothing: Linux cuts the range first.

    Source: copy_file_range(2); generic_copy_file_checks, vfs_copy_file_range; then as `sendfile` (do_splice_direct).
    """
    machine.process(op.process)
    source = machine.cache.file(op.file)
    length = max(0, min(op.length, source.size - op.offset))

    # CHECKS
    if FILES[op.file].is_memfd != FILES[op.into].is_memfd and not machine.semantics.copies_between_file_systems:
        machine.reach["copyrange.exdev"] += 1
        return _EXDEV
    compared = length if machine.semantics.copy_range_is_cut_first else op.length
    if op.file == op.into and op.at + compared > op.offset and op.at < op.offset + compared:
        machine.reach["copyrange.einval"] += 1
        return _EINVAL

    # EFFECT
    copy_between_files(machine, op, length)
    machine.reach["copyrange" if length == op.length else "copyrange.short"] += 1

    # OUTCOME
    return Allowed((Received(length),), _CLAUSE)
