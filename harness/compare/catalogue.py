"""The contracts: stable id, the level that it takes to see a violation, and the sentence.

The sentence is what a report prints, and what the docstring of the contract's test says (a self-test holds the two
together). Ids are used in reports, failure files and known-divergence files, and never change their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.program.levels import Level


@dataclass(frozen=True, slots=True)
class Contract:
    """One sentence about memory."""

    id: str
    level: Level
    sentence: str


def _table(*rows: tuple[str, Level, str]) -> dict[str, Contract]:
    return {row[0]: Contract(*row) for row in rows}


CONTRACTS = _table(
    # ------------------------------------------------------------ isolation and sharing
    ("fork.parent-store-private", Level.OUTCOMES,
     "A private page that the parent writes after fork does not change in any child."),
    ("fork.child-store-private", Level.OUTCOMES,
     "A private page that a child writes does not change in its parent, its siblings or its own later children."),
    ("fork.generations", Level.OUTCOMES,
     "Private pages stay private over three and more generations, also those copied before the next fork."),
    ("fork.file-private", Level.OUTCOMES,
     "A private file page is copied on write for each process; neither the file nor any other mapping sees it."),
    ("fork.shared-stays-shared", Level.OUTCOMES,
     "Shared memory is one memory for all who have it, whether or not it was touched before fork."),
    ("file.shared-coherent", Level.OUTCOMES,
     "Shared mappings, read and write of one file agree at once; nothing is lost by msync, munmap or unlink."),
    ("file.truncate-cuts", Level.OUTCOMES,
     "Truncation takes the pages behind the new end from every mapping, and what is cut within a page reads zero."),
    ("fork.failed-is-no-op", Level.OUTCOMES,
     "A fork that fails leaves the parent, every count and free memory as they were."),
    ("vfork.shares-and-suspends", Level.OUTCOMES,
     "A vfork child works in its parent's memory, and the parent does not run until the child execs or ends."),
    ("clone-vm.shares", Level.OUTCOMES,
     "CLONE_VM children see one address space with their parent, until they exec; the last to leave it ends it."),
    ("fork.shares-frames", Level.FRAMES,
     "After fork, parent and child share each private frame until one of them writes it."),
    ("fork.inherits-vmas", Level.MAPPINGS,
     "The child has exactly the parent's VMAs: ranges, protections, offsets and flags, also those never touched."),
    ("fork.dontfork", Level.OUTCOMES,
     "A child does not get memory that was advised not to be forked, and the parent keeps it as it is."),
    ("fork.wipeonfork", Level.OUTCOMES,
     "A child gets zeroes for memory that was advised to be wiped, and so do its own children; the parent keeps it."),
    ("zero.page-stays-zero", Level.OUTCOMES,
     "The zero page reads zero for everybody, for ever; a write gets a frame of its own."),
    ("zero.fresh-memory", Level.OUTCOMES,
     "Every byte of newly mapped or bss memory reads zero."),
    ("store.load", Level.OUTCOMES,
     "A load returns the last byte that the process, or the ancestor it was forked from, stored there."),
    # ------------------------------------------------------------ copy-on-write and refcounts
    ("count.equals-references", Level.REFCOUNTS,
     "The refcount of every frame equals its references: the page-table entries that map it, the page cache, and pins."),
    ("count.mapcount", Level.MAPCOUNTS,
     "The kernel's mapcount of a frame equals the number of page-table entries that map it."),
    ("count.many-sharers", Level.OUTCOMES,
     "However many processes share a frame, its count neither wraps, nor sticks, nor frees it early."),
    ("count.no-inflation", Level.REFCOUNTS,
     "Rounds of fork+exec and fork+exit leave each count where one round left it."),
    ("cow.break-copies-all", Level.OUTCOMES,
     "Breaking copy-on-write copies every byte of the page."),
    ("cow.sole-owner-reuses", Level.FRAMES,
     "Once every other holder is gone, a store keeps the frame and copies nothing."),
    ("cow.old-frame-released", Level.REFCOUNTS,
     "After a copy the old frame has lost exactly one reference."),
    ("cow.no-writable-shared", Level.OUTCOMES,
     "No private frame with two holders is writable anywhere."),
    ("cow.pinned-is-not-exclusive", Level.OUTCOMES,
     "A frame that a pipe still holds is not written to by those who did not pin it, and the pipe keeps it."),
    ("cow.fixed-buffer-stays", Level.OUTCOMES,
     "A page that the kernel holds as a buffer stays its owner's: what is delivered there shows in its memory alone."),
    ("cow.one-fault-per-first-write", Level.ACCOUNTING,
     "A first touch takes one fault, and a touch of memory that is there takes none."),
    ("account.rss", Level.RSS,
     "What the kernel counts as resident, anonymous, of files and shared, is what a process's page tables hold."),
    ("frame.stays", Level.FRAMES,
     "A page keeps its frame until it is written while shared, unmapped, or replaced by exec."),
    # ------------------------------------------------------------ end of an address space
    ("exit.drops-all", Level.REFCOUNTS,
     "Exit drops each reference that the address space held, frees each frame that nobody holds, once."),
    ("exec.drops-all", Level.REFCOUNTS,
     "Exec drops the old address space whole, and nothing of it is visible to the new image."),
    ("exec.image-intact", Level.OUTCOMES,
     "The exec'd image has the file's bytes, whatever was exec'd, exited or written before."),
    ("cache.outlives-mappers", Level.OUTCOMES,
     "A page-cache page stays valid though its last mapper is gone; a later mapper sees the same bytes."),
    ("cache.private-write-stays-out", Level.OUTCOMES,
     "A write to a private mapping of a file never enters the page cache."),
    ("tables.no-double-free", Level.ALIVE,
     "A page-table page is freed once, and a dead root is never used again."),
    ("tables.conserved", Level.PAGE_TABLES,
     "After the last process of a program is reaped, its page-table pages are free."),
    ("conserve.frames", Level.REFCOUNTS,
     "After the last process of a program is reaped, every frame it had is free or in the page cache."),
    ("conserve.free-memory", Level.ACCOUNTING,
     "Rounds of the same steps cost less than a frame each: what a round takes from the free memory it gives back."),
    ("conserve.process", Level.OUTCOMES,
     "Every process can exit and be waited for, and orphans are reaped by init."),
    ("wait.status", Level.OUTCOMES,
     "The wait status tells the exit code or the killing signal, exactly."),
    # ------------------------------------------------------------ geometry and protection
    ("mmap.geometry", Level.MAPPINGS,
     "VMAs are page-aligned, sorted, non-empty and disjoint, and are exactly those that were asked for."),
    ("mmap.fixed-replaces", Level.OUTCOMES,
     "MAP_FIXED replaces exactly its range, and drops the references of what it replaced."),
    ("munmap.exact", Level.OUTCOMES,
     "munmap removes exactly its range, splitting VMAs with the right offsets, and drops its references."),
    ("mprotect.last-one-counts", Level.OUTCOMES,
     "Access depends on the last protection only, not on history, sharing, fork or residency."),
    ("mprotect.never-breaks-isolation", Level.OUTCOMES,
     "mprotect never makes a shared frame writable, and takes away a pending right to write."),
    ("mremap.preserves", Level.OUTCOMES,
     "mremap keeps bytes, protection, sharing and frames; the old range is gone, and a grown tail reads as new."),
    ("madvise.dontneed", Level.OUTCOMES,
     "Memory that was advised away reads as new: zeroes where it is anonymous, else what the file holds; shared stays."),
    ("madvise.free", Level.OUTCOMES,
     "A page that was advised to be free reads as before or as zeroes until it is written, and nobody else is affected."),
    ("madvise.populate", Level.OUTCOMES,
     "Populating brings pages in as a load or a store would, and changes no byte."),
    ("brk.exact", Level.OUTCOMES,
     "The heap grows by pages of zeroes, shrinks by dropping them, and never runs over another mapping."),
    ("stack.grows", Level.OUTCOMES,
     "A stack grows to a page below it that is touched, up to its limit, and not into the guard gap above other memory."),
    ("fault.signal", Level.OUTCOMES,
     "A forbidden access gives one SIGSEGV with the right si_code and si_addr; an allowed one completes."),
    ("file.private-offset", Level.OUTCOMES,
     "Every byte of an untouched private file page equals the file's at that offset, after splits and merges."),
    ("page.present", Level.FRAMES,
     "A page is present once it was touched, and until it is unmapped."),
    ("errno.table", Level.OUTCOMES,
     "A system call fails with the documented errno, or does what it is documented to do."),
    ("limit.exact", Level.OUTCOMES,
     "What would map more than RLIMIT_AS allows fails and changes nothing; what just reaches the limit succeeds."),
    ("tlb.no-stale", Level.OUTCOMES,
     "After munmap, mprotect, mremap, fork or a copy returns, no CPU uses the old translation."),
    ("kernel-write.breaks-cow", Level.OUTCOMES,
     "A store by the kernel for a process shows in that process alone, as its own would."),
    ("kernel-write.respects-protection", Level.OUTCOMES,
     "Where a process may not store, the kernel does not for it: it says EFAULT, and what is refused does not change."),
    ("kernel-write.exact-bytes", Level.OUTCOMES,
     "A store by the kernel writes the documented bytes, and not one more."),
    ("foll-force.private-only", Level.OUTCOMES,
     "A write through /proc/PID/mem to private memory reaches neither the file nor any other mapping."),
    ("kernel-read.sees-memory", Level.OUTCOMES,
     "What the kernel reads for a process is what the process itself would read."),
    # ------------------------------------------------------------ prefault and batches
    ("prefault.budget", Level.FRAMES,
     "No more untouched pages are present than the kernel's declared prefault budget."),
    ("prefault.transparent", Level.OUTCOMES,
     "Prefaulting (bss, fault-around, exec templates) changes no value and no count rule."),
    ("batch.distinct-zeroed", Level.FRAMES,
     "Frames handed out in a batch are distinct, zeroed, and counted once each."),
    ("alloc.never-twice", Level.FRAMES,
     "One frame is never two things: mapped private twice, page table and data, free and mapped."),
    # ------------------------------------------------------------ all of them
    ("any.program", Level.OUTCOMES,
     "Whatever a program does, the kernel keeps every contract that the guest can show."),
    # ------------------------------------------------------------ life of the kernel
    ("live.no-panic", Level.ALIVE,
     "No program makes the kernel panic, oops, warn, reboot, or stop answering."),
    ("live.bounded", Level.ALIVE,
     "Every step ends, within a bounded number of faults."),
    ("live.usable-after", Level.OUTCOMES,
     "After any program the canary program still behaves."),
    ("live.process-survives", Level.OUTCOMES,
     "A process dies of what its program says, and of nothing else."),
)  # fmt: skip
