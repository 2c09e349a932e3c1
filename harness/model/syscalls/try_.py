"""try: a system call that must fail."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.machine import Machine
from harness.program.ops import Misuse, Try
from harness.program.outcome import Failed


def _fails(errno: str, clause: str, *others: str) -> Allowed:
    return Allowed(tuple(Failed(each) for each in (errno, *others)), clause)


_ERRORS = {
    Misuse.MAP_LENGTH_0: _fails("EINVAL", "mmap(2), EINVAL: length was 0"),
    Misuse.MAP_NO_SHARING: _fails("EINVAL", "mmap(2), EINVAL: flags contained none of MAP_PRIVATE, MAP_SHARED"),
    Misuse.MAP_MISALIGNED: _fails("EINVAL", "mmap(2), EINVAL: addr is not aligned on a page boundary"),
    Misuse.MAP_MISALIGNED_OFFSET: _fails("EINVAL", "mmap(2), EINVAL: offset is not aligned on a page boundary"),
    Misuse.MAP_BAD_FILE: _fails("EBADF", "mmap(2), EBADF: fd is no valid file descriptor (and MAP_ANONYMOUS not set)"),
    Misuse.MAP_BEYOND: _fails("ENOMEM", "mmap(2), ENOMEM: addr exceeds the virtual address space of the CPU"),
    Misuse.MAP_HUGE: _fails("ENOMEM", "mmap(2), ENOMEM: no room for that much"),
    Misuse.UNMAP_MISALIGNED: _fails("EINVAL", "munmap(2): addr must be a multiple of the page size"),
    Misuse.UNMAP_LENGTH_0: _fails("EINVAL", "munmap(2), mmap(2), EINVAL: length was 0"),
    Misuse.UNMAP_BEYOND: _fails("EINVAL", "munmap(2), EINVAL: the range is not one that a process can have"),
    Misuse.PROTECT_MISALIGNED: _fails("EINVAL", "mprotect(2), EINVAL: addr is not a multiple of the page size"),
    Misuse.PROTECT_BAD_BITS: _fails("EINVAL", "mprotect(2), EINVAL: both PROT_GROWSUP and PROT_GROWSDOWN were specified"),
    Misuse.REMAP_MISALIGNED: _fails("EINVAL", "mremap(2), EINVAL: old_address was not page aligned"),
    Misuse.REMAP_LENGTH_0: _fails("EINVAL", "mremap(2), EINVAL: new_size was zero"),
    Misuse.REMAP_BAD_FLAGS: _fails("EINVAL", "mremap(2), EINVAL: a value other than the MREMAP_… was specified in flags"),
    Misuse.REMAP_FIXED_ALONE: _fails("EINVAL", "mremap(2), EINVAL: MREMAP_FIXED was specified without MREMAP_MAYMOVE"),
    Misuse.ADVISE_MISALIGNED: _fails("EINVAL", "madvise(2), EINVAL: addr is not page-aligned"),
    Misuse.ADVISE_UNKNOWN: _fails("EINVAL", "madvise(2), EINVAL: advice is not valid"),
    Misuse.SYNC_MISALIGNED: _fails("EINVAL", "msync(2), EINVAL: addr is not a multiple of PAGESIZE"),
    Misuse.SYNC_BOTH: _fails("EINVAL", "msync(2), EINVAL: both MS_SYNC and MS_ASYNC are set"),
    Misuse.WAIT_NOBODY: _fails("ECHILD", "wait(2), ECHILD: the process specified by pid is no child of the caller"),
    Misuse.READ_BAD_FILE: _fails("EBADF", "read(2), EBADF: fd is not a valid file descriptor"),
    Misuse.WRITE_BAD_FILE: _fails("EBADF", "write(2), EBADF: fd is not a valid file descriptor"),
    Misuse.CLOSE_BAD_FILE: _fails("EBADF", "close(2), EBADF: fd is no open file descriptor"),
    Misuse.PIPE_BAD_POINTER: _fails("EFAULT", "pipe(2), EFAULT: pipefd is not valid"),
    Misuse.EXEC_MISSING: _fails("ENOENT", "execve(2), ENOENT: the file pathname does not exist"),
    Misuse.MAP_WRAPPING: _fails("ENOMEM", "mmap(2), ENOMEM: no room for that much, however far around it reaches"),
    Misuse.UNMAP_WRAPPING: _fails("EINVAL", "munmap(2), EINVAL: the range is not one that a process can have"),
    Misuse.PROTECT_WRAPPING: _fails("ENOMEM", "mprotect(2), ENOMEM: addresses in the range are invalid for the process"),
    Misuse.REMAP_WRAPPING: _fails(
        "ENOMEM",
        "mremap(2), ENOMEM: no room for that much; EINVAL: an invalid argument (check_mremap_params, since Linux 6.17); "
        "EFAULT where nothing is mapped",
        "EFAULT",
        "EINVAL",
    ),
    Misuse.REMAP_OLD_WRAPPING: _fails(
        "EINVAL", "mremap(2), EINVAL: an invalid argument was given; EFAULT where nothing is mapped", "EFAULT"
    ),
    Misuse.ADVISE_WRAPPING: _fails("EINVAL", "madvise(2), EINVAL: length is negative"),
    Misuse.SYNC_WRAPPING: _fails("ENOMEM", "msync(2), ENOMEM: the indicated memory, or part of it, was not mapped"),
    Misuse.EXEC_BAD_PATH: _fails("EFAULT", "execve(2), EFAULT: pathname points outside your accessible address space"),
    Misuse.EXEC_BAD_ARGUMENT: _fails("EFAULT", "execve(2), EFAULT: one of the pointers in the vector argv points outside"),
    Misuse.EXEC_NO_PROGRAM: _fails("ENOEXEC", "execve(2), ENOEXEC: an executable is not in a recognized format"),
}
"""What each misuse is answered with, and where that is said. All were seen on Linux 6.1 too."""

_ALSO_NAMED = {
    Misuse.MAP_BEYOND: _fails("EINVAL", "mmap(2), EINVAL: addr, length, or offset are too large"),
    Misuse.MAP_HUGE: _fails("EINVAL", "mmap(2), EINVAL: addr, length, or offset are too large"),
    Misuse.MAP_WRAPPING: _fails(
        "EINVAL", "mmap(2), EINVAL: addr, length, or offset are too large; EOVERFLOW: the pages are too many", "EOVERFLOW"
    ),
    Misuse.REMAP_OLD_WRAPPING: _fails("ENOMEM", "mremap(2), ENOMEM: no room for that much"),
    Misuse.ADVISE_WRAPPING: _fails("ENOMEM", "madvise(2), ENOMEM: addresses in the range are not currently mapped"),
}
"""What the documents name for a misuse, too: what a kernel answers there is its choice.

Of a range of mprotect and msync that wraps they name but one error: ENOMEM, "addresses in the range are invalid for the
address space of the process" (mprotect(3p), msync(3p)). Linux said EINVAL once, and called that a bug (2.6.5).
"""


def try_(machine: Machine, op: Try) -> Allowed:
    """Say how the call fails.

    Source: the man-page that the clause names.
    """
    # CHECKS
    machine.process(op.process)
    machine.reach["try"] += 1

    # EFFECT
    # none: arguments are looked at before anything is done.

    # OUTCOME
    linux, also = _ERRORS[op.misuse], _ALSO_NAMED.get(op.misuse)
    if also is None or not machine.semantics.errors_may_differ:
        return linux
    return Allowed((*linux.outcomes, *also.outcomes), f"{linux.clause}; {also.clause}")
