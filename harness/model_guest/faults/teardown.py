"""What goes wrong where an address space ends, or another one takes its place: exit, exec, wait and the tables."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

TEARDOWN = (
    Fault(
        "leader-exit-ends-process",
        "the exit of the first thread ends the process, though another thread lives",
        ("clone-vm.shares",),
    ),
    Fault(
        "leader-exit-drops-space",
        "the exit of the first thread drops the pages of the process, though another thread lives",
        ("clone-vm.shares",),
    ),
    Fault(
        "leader-exit-keeps-hold",
        "the exit of the first thread keeps its hold of the address space",
        ("exit.drops-all", "count.equals-references"),
    ),
    Fault(
        "thread-exec-keeps-old-space",
        "exec by another thread than the first keeps the old address space",
        ("exec.drops-all", "count.equals-references"),
    ),
    Fault(
        "thread-exit-drops-twice",
        "the end of a process by another thread than the first drops the address space twice",
        ("clone-vm.shares",),
    ),
    Fault(
        "reap-efault-keeps-zombie",
        "a wait whose status cannot be stored leaves the child to be waited for again",
        ("conserve.process", "wait.status"),
    ),
    Fault(
        "no-vm-drop",
        "exit and exec never tear the old address space down",
        (
            "exit.drops-all",
            "exec.drops-all",
            "count.equals-references",
            "cow.sole-owner-reuses",
            "conserve.frames",
        ),
    ),
    Fault(
        "teardown-frees-as-zeroed",
        "teardown puts frames where those lie that have been zeroed",
        ("live.usable-after", "zero.fresh-memory"),
    ),
    Fault(
        "failed-fork-keeps-slot",
        "a fork that fails keeps its place in the table of processes",
        ("live.usable-after",),
    ),
    Fault(
        "exec-leaks-frame",
        "exec keeps a frame of its own, in which it had collected the arguments",
        ("conserve.free-memory",),
    ),
    Fault(
        "fork-leaks-frame",
        "fork keeps a frame of its own, in which it had noted what it copied",
        ("conserve.free-memory",),
    ),
    Fault(
        "fork-leaks-at-times",
        "every fourth fork keeps a frame of its own",
        ("conserve.free-memory",),
    ),
    Fault(
        "stack-growth-leaks",
        "a page of a stack has a reference for the growing, which nobody drops",
        ("count.equals-references", "conserve.free-memory"),
    ),
    Fault(
        "free-cached-pages",
        "full teardown frees frames that the page cache still holds, uncounted",
        ("cache.outlives-mappers", "exec.image-intact", "alloc.never-twice"),
    ),
    Fault(
        "dec-only-teardown",
        "counts drop at teardown, but frames that reach zero are never freed",
        ("conserve.frames", "exit.drops-all"),
    ),
    Fault(
        "exec-teardown-frees-live-tables",
        "exec frees the root of the address space that it has just put in use, not the old one",
        ("tables.no-double-free", "alloc.never-twice", "live.no-panic"),
    ),
    Fault(
        "exec-template-of-wrong-image",
        "the layout of the image that was exec'd first serves for all images",
        ("exec.image-intact", "exec.drops-all"),
    ),
    Fault(
        "exec-tail-not-zeroed",
        "what follows a segment in the last page of its file stays in memory, where bss should read zero",
        ("zero.fresh-memory", "exec.image-intact"),
    ),
    Fault(
        "exec-zeroes-tail-in-cache",
        "the part of a page of bss that follows a segment's file is zeroed in the page cache",
        ("cache.private-write-stays-out",),
    ),
    Fault(
        "exec-keeps-old-mappings",
        "exec unmaps only what is in the way of the new image",
        ("exec.drops-all",),
    ),
    Fault(
        "large-bss-cut",
        "a segment of more than 2 MiB ends with its first page table",
        ("exec.image-intact",),
    ),
    Fault(
        "double-free-root",
        "the root field is not cleared, and a second teardown frees it again",
        ("tables.no-double-free", "alloc.never-twice", "live.no-panic"),
    ),
    Fault(
        "exec-forgets-threads",
        "exec ends the other threads of the process, and not their hold on the address space",
        ("exec.drops-all", "count.equals-references"),
    ),
    Fault(
        "exit-forgets-threads",
        "exit of a process with threads drops the hold of one of them on the address space",
        ("exit.drops-all", "count.equals-references"),
    ),
    Fault(
        "kill-skips-teardown",
        "a process that is killed while it sleeps keeps its memory",
        ("exit.drops-all", "count.equals-references", "conserve.frames"),
    ),
    Fault(
        "kill-drops-twice",
        "a process that is killed lets go of its address space twice, where others work in it too",
        ("clone-vm.shares", "exit.drops-all"),
    ),
    Fault(
        "kill-reports-sigsegv",
        "a process that was killed is reported to have died of a wrong access",
        ("wait.status",),
    ),
    Fault(
        "kill-finds-nobody",
        "kill of a process that was waited for succeeds",
        ("errno.table",),
    ),
    Fault(
        "kill-misses-zombie",
        "kill of a process that has ended, and was not waited for, fails",
        ("errno.table",),
    ),
    Fault(
        "kill-of-zombie-tells-signal",
        "a process that has exited and is killed then is reported to have died of the signal",
        ("wait.status",),
    ),
    Fault(
        "kill-of-zombie-drops-again",
        "a process that has exited and is killed then lets go of its address space once more",
        ("clone-vm.shares",),
    ),
    Fault(
        "failed-exec-leaks-space",
        "an exec of what is no program keeps the address space that it had begun",
        (
            "tables.conserved",
            "conserve.free-memory",
        ),
    ),
    Fault(
        "failed-exec-drops-pages",
        "an exec of what is no program takes the pages of its caller",
        ("exec.failed-is-no-op",),
    ),
    Fault(
        "zombie-keeps-space",
        "a process that has ended keeps its memory until it is waited for",
        ("exit.drops-all",),
    ),
    Fault(
        "clone-vm-exit-frees",
        "the exit of one process tears an address space down in which another works",
        ("clone-vm.shares", "vfork.shares-and-suspends", "exit.drops-all", "tables.no-double-free", "live.no-panic"),
    ),
    Fault(
        "exec-of-clone-tears-down-sharer",
        "the exec of one process tears the old address space down though another works in it",
        ("clone-vm.shares", "vfork.shares-and-suspends", "exec.drops-all", "tables.no-double-free", "live.no-panic"),
    ),
    Fault(
        "eager-prefault",
        "64 pages of a new mapping are brought in at once",
        ("prefault.budget",),
    ),
    Fault(
        "leak-page-tables",
        "teardown leaves intermediate tables behind",
        ("conserve.frames", "exit.drops-all", "exec.drops-all"),
    ),
    Fault(
        "exit-leaks-shared-memory",
        "shared anonymous memory whose last mapper exits or execs is never freed",
        ("conserve.frames",),
    ),
    Fault(
        "wait-status-wrong",
        "death by signal reads as an exit",
        ("wait.status",),
    ),
    Fault(
        "orphans-stay",
        "a process whose parent has ended is never reaped",
        ("conserve.process",),
    ),
    Fault(
        "sigchld-kills",
        "a process that dies of a signal takes its parent with it",
        (
            "live.process-survives",
            "wait.status",
            "conserve.process",
        ),
    ),
)
