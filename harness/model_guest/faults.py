"""The catalogue of planted faults: kernel bugs that the contracts must catch.

Each fault changes one decision in one place of the toy kernel. The place is marked with a comment
`# planted: …` beside the name, so that `grep -rn '"cow-shares"' harness/model_guest` finds it.

The sentences are those of the fault table of the contracts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: what is wrong, and which contracts it breaks (the most telling one first)."""

    name: str
    sentence: str
    contracts: tuple[str, ...]


_ALL = (
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
        "exec-leaks-frame",
        "exec keeps a frame of its own, in which it had collected the arguments",
        ("conserve.free-memory",),
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
        "file-offset-wraps",
        "of the page of the file that a mapping asks for nine bits are looked at",
        ("exec.image-intact", "file.private-offset"),
    ),
    Fault(
        "double-free-root",
        "the root field is not cleared, and a second teardown frees it again",
        ("tables.no-double-free", "alloc.never-twice", "live.no-panic"),
    ),
    Fault(
        "ghost-fork",
        "fork shares the parent's address space",
        ("fork.child-store-private", "fork.parent-store-private", "count.mapcount"),
    ),
    Fault(
        "failed-fork-leaks",
        "a fork that runs out of memory keeps what it took",
        ("fork.failed-is-no-op", "count.equals-references", "conserve.frames", "cow.sole-owner-reuses"),
    ),
    Fault(
        "refused-fork-leaks",
        "a fork that is refused as one too many keeps what it took",
        ("fork.failed-is-no-op", "count.equals-references", "conserve.frames"),
    ),
    Fault(
        "limited-map-unmaps-first",
        "mmap beyond the limit of the address space fails when what it was to replace is gone already",
        ("limit.exact", "mmap.geometry"),
    ),
    Fault(
        "limit-counts-replaced",
        "mmap counts what it replaces against the limit of the address space",
        ("limit.exact",),
    ),
    Fault(
        "remap-ignores-limit",
        "mremap grows a mapping beyond the limit of the address space",
        ("limit.exact",),
    ),
    Fault(
        "readv-goes-on",
        "a read into several ranges goes on behind one that cannot be filled",
        ("kernel-write.exact-bytes", "kernel-write.respects-protection"),
    ),
    Fault(
        "populate-write-reads",
        "MADV_POPULATE_WRITE brings pages in as a load would",
        ("madvise.populate",),
    ),
    Fault(
        "sendfile-moves-page",
        "sendfile puts the page of one file into the other, too, in place of a copy",
        ("file.shared-coherent", "count.equals-references"),
    ),
    Fault(
        "vfork-does-not-suspend",
        "the parent of a vfork runs on beside its child",
        ("vfork.shares-and-suspends",),
    ),
    Fault(
        "vfork-copies",
        "the child of a vfork works in a copy of its parent's memory",
        ("vfork.shares-and-suspends",),
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
        "clone-vm-copies",
        "a CLONE_VM child works in a copy of its parent's memory",
        ("clone-vm.shares",),
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
        "fork-keeps-writable",
        "fork forgets to clear the writable bit in the parent",
        ("fork.parent-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "fork-keeps-writable-child",
        "fork forgets to clear the writable bit in the child",
        ("fork.child-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "fork-keeps-tlb",
        "no flush in the parent after fork has taken its right to write",
        ("tlb.no-stale", "fork.parent-store-private"),
    ),
    Fault(
        "fork-forgets-ref",
        "fork does not count the child's page-table entry",
        ("count.equals-references", "count.mapcount", "fork.child-store-private", "alloc.never-twice"),
    ),
    Fault(
        "fork-skips-prot-none",
        "fork copies an inaccessible page-table entry without counting it",
        ("count.equals-references", "count.mapcount", "mprotect.never-breaks-isolation"),
    ),
    Fault(
        "cow-shares",
        "break CoW restores the writable bit though the frame is shared",
        ("fork.child-store-private", "fork.parent-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "cow-copies-part",
        "break CoW copies the first half of the page",
        ("cow.break-copies-all",),
    ),
    Fault(
        "cow-copies-part-tail",
        "break CoW copies all but the last 64 bytes of the page",
        ("cow.break-copies-all",),
    ),
    Fault(
        "cow-keeps-old-ref",
        "the old frame keeps its reference after a copy",
        (
            "cow.old-frame-released",
            "count.equals-references",
            "cow.sole-owner-reuses",
            "conserve.frames",
        ),
    ),
    Fault(
        "sole-owner-stays-readonly",
        "a store to a frame with count 1 leaves it read-only",
        ("live.bounded", "cow.sole-owner-reuses"),
    ),
    Fault(
        "sole-owner-always-copies",
        "a store to a CoW frame with count 1 copies it",
        ("cow.sole-owner-reuses",),
    ),
    Fault(
        "two-faults-per-write",
        "the first fault maps the copy read-only again",
        ("cow.one-fault-per-first-write",),
    ),
    Fault(
        "refork-readonly",
        "a page that is CoW already becomes plain read-only at the next fork",
        ("fork.generations", "fault.signal"),
    ),
    Fault(
        "mprotect-grants-shared-write",
        "mprotect(+W) sets the writable bit on a shared frame",
        ("mprotect.never-breaks-isolation", "cow.no-writable-shared", "zero.page-stays-zero"),
    ),
    Fault(
        "mprotect-keeps-cow-right",
        "mprotect(R) leaves a pending right to write",
        ("mprotect.never-breaks-isolation", "mprotect.last-one-counts", "fault.signal"),
    ),
    Fault(
        "mprotect-loops",
        "a store to a read-only page loops instead of signalling",
        ("fault.signal", "live.bounded"),
    ),
    Fault(
        "mprotect-keeps-tlb",
        "no flush after mprotect",
        ("tlb.no-stale", "mprotect.last-one-counts"),
    ),
    Fault(
        "file-private-not-cow",
        "private file pages are not copied on write",
        ("cache.private-write-stays-out", "fork.file-private", "exec.image-intact"),
    ),
    Fault(
        "cache-poisoned",
        "a written private page is put into the page cache",
        ("cache.private-write-stays-out", "exec.image-intact", "exec.drops-all"),
    ),
    Fault(
        "split-loses-offset",
        "the upper half of a split file VMA has the wrong offset",
        ("file.private-offset", "munmap.exact"),
    ),
    Fault(
        "munmap-keeps-tlb",
        "no flush after munmap",
        ("tlb.no-stale", "fault.signal"),
    ),
    Fault(
        "munmap-frees-shared",
        "munmap frees a frame without asking its count",
        ("munmap.exact", "count.equals-references", "alloc.never-twice"),
    ),
    Fault(
        "remap-resets-count",
        "moving a shared page sets its count to one",
        ("mremap.preserves", "count.equals-references", "count.mapcount", "alloc.never-twice"),
    ),
    Fault(
        "remap-leaves-old",
        "moving a page leaves its entry at the old place",
        ("mremap.preserves", "tlb.no-stale"),
    ),
    Fault(
        "remap-keeps-tlb",
        "no flush after mremap has moved a page",
        ("tlb.no-stale", "mremap.preserves"),
    ),
    Fault(
        "remap-grows-over",
        "a mapping that grows in place takes the pages of its neighbour",
        ("mremap.preserves",),
    ),
    Fault(
        "flush-first-page",
        "after munmap, mprotect or madvise of several pages only the first is flushed",
        ("tlb.no-stale", "mprotect.last-one-counts"),
    ),
    Fault(
        "force-grants-write",
        "a forced store that copies a page leaves the process the right to write to it",
        ("foll-force.private-only",),
    ),
    Fault(
        "protect-forgets-advice",
        "mprotect drops what fork was advised to do with the mapping",
        ("fork.wipeonfork",),
    ),
    Fault(
        "exit-leaks-shared-memory",
        "shared anonymous memory whose last mapper exits or execs is never freed",
        ("conserve.frames",),
    ),
    Fault(
        "remap-loses-protection",
        "a moved mapping is readable and writable, whatever it was",
        ("mremap.preserves",),
    ),
    Fault(
        "dontneed-ignored",
        "MADV_DONTNEED keeps old bytes",
        ("madvise.dontneed",),
    ),
    Fault(
        "free-takes-shared",
        "MADV_FREE frees a frame that others hold",
        ("madvise.free", "count.equals-references", "alloc.never-twice"),
    ),
    Fault(
        "dontfork-ignored",
        "a child gets memory that was advised not to be forked",
        ("fork.dontfork",),
    ),
    Fault(
        "wipeonfork-ignored",
        "a child gets the bytes of memory that was advised to be wiped",
        ("fork.wipeonfork",),
    ),
    Fault(
        "brk-shrink-keeps",
        "the break is taken back, and the memory behind it stays",
        ("brk.exact",),
    ),
    Fault(
        "brk-runs-over",
        "a growing heap replaces what is in its way",
        ("brk.exact",),
    ),
    Fault(
        "mmap-chooses-taken",
        "the kernel chooses an address where something is mapped",
        ("mmap.geometry",),
    ),
    Fault(
        "errno-wrong",
        "a call that must fail succeeds",
        ("errno.table",),
    ),
    Fault(
        "stack-no-guard",
        "a stack grows until it touches what is below it",
        ("stack.grows",),
    ),
    Fault(
        "count-u8",
        "the counter is one byte, and wraps at 256",
        ("count.many-sharers", "count.equals-references", "alloc.never-twice"),
    ),
    Fault(
        "batch-hands-out-twice",
        "a batch contains one frame twice",
        ("batch.distinct-zeroed", "alloc.never-twice"),
    ),
    Fault(
        "batch-not-zeroed",
        "the frames of a batch keep their old bytes",
        ("batch.distinct-zeroed", "zero.fresh-memory"),
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
        "pin-leaks",
        "the pipe does not let go of a frame when it was read, or is closed",
        ("conserve.frames", "count.equals-references"),
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
        "shared-becomes-private",
        "shared memory is CoW after fork",
        ("fork.shared-stays-shared",),
    ),
    Fault(
        "shared-untouched-not-shared",
        "shared memory that was not touched before fork is two frames",
        ("fork.shared-stays-shared",),
    ),
    Fault(
        "shared-write-lost",
        "a page of a shared file mapping that was read first is copied on write",
        ("file.shared-coherent",),
    ),
    Fault(
        "write-replaces-page",
        "write(2) puts a new frame into the page cache, and mappings keep the old one",
        ("file.shared-coherent",),
    ),
    Fault(
        "file-tail-not-zeroed",
        "a file that is cut in the middle of a page keeps the rest of the page",
        ("file.truncate-cuts",),
    ),
    Fault(
        "truncate-keeps-mapping",
        "truncation takes pages from the page cache and leaves them mapped",
        ("file.truncate-cuts",),
    ),
    Fault(
        "truncate-keeps-copies",
        "truncation spares the private copies of the pages that it cuts off",
        ("file.truncate-cuts",),
    ),
    Fault(
        "sigbus-missing",
        "a page behind the end of a file is brought in like any other",
        ("file.truncate-cuts",),
    ),
    Fault(
        "cache-keeps-ref-after-truncate",
        "the page cache keeps its hold of pages that were cut off",
        ("conserve.frames",),
    ),
    Fault(
        "unlink-frees-mapped",
        "unlink drops the pages of a file that is still open",
        ("file.shared-coherent",),
    ),
    Fault(
        "wait-status-wrong",
        "death by signal reads as an exit",
        ("wait.status",),
    ),
    Fault(
        "fork-copies-at-once",
        "fork copies each page that the parent may write, instead of sharing it",
        ("fork.shares-frames",),
    ),
    Fault(
        "fork-drops-prot-none",
        "a child does not get the mappings that nobody may touch",
        ("fork.inherits-vmas",),
    ),
    Fault(
        "fork-forgets-mapcount",
        "fork counts the reference of a child's page-table entry, and not the mapping",
        ("count.mapcount",),
    ),
    Fault(
        "orphans-stay",
        "a process whose parent has ended is never reaped",
        ("conserve.process",),
    ),
    Fault(
        "mprotect-moves-pages",
        "mprotect gives a page another frame",
        ("frame.stays",),
    ),
    Fault(
        "map-keeps-old-pages",
        "a mapping over another leaves the old pages in place",
        ("mmap.fixed-replaces",),
    ),
    Fault(
        "load-brings-neighbour",
        "a load of fresh memory brings in the next page too",
        (
            "page.present",
            "prefault.budget",
        ),
    ),
    Fault(
        "store-lost-in-fault",
        "a store that makes the zero page give way to a frame is lost",
        ("store.load",),
    ),
    Fault(
        "mprotect-forgives-holes",
        "mprotect of memory that is not all mapped succeeds",
        ("errno.table",),
    ),
    Fault(
        "segv-says-accerr",
        "a fault where nothing is mapped has the code of a forbidden one",
        ("fault.signal",),
    ),
    Fault(
        "segv-panics",
        "a process that dies of a fault where nothing is mapped takes the kernel with it",
        ("live.no-panic",),
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
    Fault(
        "print-reads-the-file",
        "write(2) takes the bytes of a private file page from the page cache",
        ("kernel-read.sees-memory",),
    ),
    Fault(
        "zero-page-is-written",
        "a store to the zero page does not copy it",
        ("zero.page-stays-zero",),
    ),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault that can be planted, by name."""


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Give the names as a set. Raises DefinitionError where one is not in the catalogue."""
    chosen = frozenset(names)
    for name in sorted(chosen - FAULTS.keys()):
        close = difflib.get_close_matches(name, FAULTS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DefinitionError(f"there is no fault {name!r}; {hint}`harness.model_guest.FAULTS` lists all {len(FAULTS)}")
    return chosen
