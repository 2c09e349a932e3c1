"""What goes wrong where the kernel itself reads, writes or holds the memory of a process."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

KERNEL_ACCESS = (
    Fault(
        "readv-goes-on",
        "a read into several ranges goes on behind one that cannot be filled",
        ("kernel-write.exact-bytes", "kernel-write.respects-protection"),
    ),
    Fault(
        "sendfile-moves-page",
        "sendfile puts the page of one file into the other, too, in place of a copy",
        ("file.shared-coherent", "count.equals-references"),
    ),
    Fault(
        "copy-range-copies-pages",
        "copy_file_range writes whole pages: behind the bytes that were asked for come zeroes",
        ("file.shared-coherent",),
    ),
    Fault(
        "copy-range-forgets-overlap",
        "copy_file_range copies a file over itself",
        ("errno.table",),
    ),
    Fault(
        "copy-range-keeps-size",
        "copy_file_range behind the end of a file stores there, and leaves the file as long as it was",
        ("file.shared-coherent",),
    ),
    Fault(
        "failed-write-extends",
        "write(2) behind the end of a file makes it longer, and then finds that there is nothing to write",
        ("file.shared-coherent",),
    ),
    Fault(
        "short-write-grows-file",
        "a write that ends early makes the file as long as the whole of it would have",
        ("file.shared-coherent",),
    ),
    Fault(
        "failed-copy-keeps-page",
        "read and write keep the page of the file where memory refuses",
        (
            "count.equals-references",
            "conserve.free-memory",
        ),
    ),
    Fault(
        "failed-copy-drops-twice",
        "read and write let go twice of the page of the file where memory refuses",
        ("count.equals-references",),
    ),
    Fault(
        "force-grants-write",
        "a forced store that copies a page leaves the process the right to write to it",
        ("foll-force.private-only",),
    ),
    Fault(
        "kernel-write-ignores-cow",
        "the kernel's own store goes to the shared frame",
        ("kernel-write.breaks-cow", "fork.child-store-private", "fork.parent-store-private"),
    ),
    Fault(
        "kernel-write-overruns",
        "a copy to user memory writes 1 to 7 bytes too many at odd lengths",
        ("kernel-write.exact-bytes",),
    ),
    Fault(
        "kernel-write-ignores-protection",
        "the kernel stores to memory that the process may not store to",
        ("kernel-write.respects-protection",),
    ),
    Fault(
        "reap-status-ignores-cow",
        "the wait status goes to the shared frame",
        ("kernel-write.breaks-cow",),
    ),
    Fault(
        "signal-frame-ignores-cow",
        "what a signal's handler finds on its stack is stored to the shared frame",
        ("kernel-write.breaks-cow",),
    ),
    Fault(
        "mem-read-asks-protection",
        "a read through /proc/PID/mem stops at memory that the process may not touch",
        ("foll-force.reads",),
    ),
    Fault(
        "mem-read-takes-file",
        "a read through /proc/PID/mem takes the bytes of a file page from the page cache, whoever has copied it",
        ("foll-force.reads",),
    ),
    Fault(
        "mem-read-ends-at-page",
        "a read through /proc/PID/mem ends with the page in which it begins",
        ("foll-force.reads",),
    ),
    Fault(
        "mem-write-breaks-cow-once",
        "a write through /proc/PID/mem breaks copy-on-write for the page in which it begins alone",
        ("foll-force.private-only",),
    ),
    Fault(
        "mem-write-wraps",
        "a write through /proc/PID/mem goes on at the start of its page where that ends",
        ("foll-force.private-only",),
    ),
    Fault(
        "poke-writes-caller",
        "a write to the memory of another process goes to the memory of who writes",
        ("remote.right-memory",),
    ),
    Fault(
        "poke-asks-caller",
        "a write to the memory of another process is refused where who writes has no mapping",
        ("remote.right-memory",),
    ),
    Fault(
        "force-writes-shared-frame",
        "a write through /proc/PID/mem goes to the frame that is there, the page cache's too",
        ("foll-force.private-only",),
    ),
    Fault(
        "cow-ignores-pins",
        "break CoW reuses a frame that a pipe still holds for somebody else",
        ("cow.pinned-is-not-exclusive",),
    ),
    Fault(
        "pin-not-counted",
        "the pipe notes a frame without holding it",
        ("cow.pinned-is-not-exclusive", "count.equals-references"),
    ),
    Fault(
        "splice-takes-more",
        "what is written to a pipe goes into the page of a file that was spliced before (CVE-2022-0847)",
        ("pipe.keeps-pages",),
    ),
    Fault(
        "pin-leaks",
        "the pipe does not let go of a frame when it was read, or is closed",
        ("conserve.frames", "count.equals-references", "conserve.free-memory"),
    ),
    Fault(
        "fork-shares-fixed-buffer",
        "fork shares the frame of a fixed buffer, so that its owner's next store leaves it",
        ("cow.fixed-buffer-stays",),
    ),
    Fault(
        "cow-copies-fixed-buffer",
        "a store by the owner of a fixed buffer goes to a copy (Linux before 5.19, after mprotect)",
        ("cow.fixed-buffer-stays",),
    ),
    Fault(
        "fixed-buffer-not-counted",
        "the kernel stores into a buffer that it does not hold",
        ("cow.fixed-buffer-stays", "count.equals-references"),
    ),
    Fault(
        "print-reads-the-file",
        "write(2) takes the bytes of a private file page from the page cache",
        ("kernel-read.sees-memory",),
    ),
    Fault(
        "kernel-read-ignores-protection",
        "write(2) and vmsplice(2) take the bytes of memory that the process may not read",
        ("kernel-read.sees-memory",),
    ),
)
