"""The in-process guest: a toy kernel with real counters, and with faults that can be planted in it.

It is the second implementation that the executable model is tested against, and a fast stand-in for a
kernel with bugs. It shares no code with `harness.model`, on purpose: the model derives every count by
walking the tables; this kernel increments and decrements, as kernels do, and so it can get it wrong.

::

    frames      numbered frames: bytes, counts, a free list, batches of zeroed frames
    paging      page tables, which are frames, and the TLB
    files       the pages of files in memory
    vmas        what is mapped where, and with which rights
    machine     all of the above, the image and the zero page, as one booted machine
    mapping     mmap, munmap, mprotect, mremap
    file_calls  read, write, truncate, unlink
    holes       holes that are punched into files
    advice      madvise
    pagefault   demand faults, and break CoW or reuse
    uaccess     stores that the kernel does, and the pipe that pins pages
    lifecycle   fork, exec's fresh address space, teardown
    process_table, process_calls, mapping_calls, accesses, kernel_access
                processes, and the operations of programs
    kernel      all of it, by the operation
    observe     what an observer sees of it all
    faults      the catalogue of planted faults
    guest       the `Subject`
"""

from harness.model_guest.faults import FAULTS, Fault, unknown_fault
from harness.model_guest.guest import ModelGuest

__all__ = ["FAULTS", "Fault", "ModelGuest", "unknown_fault"]
