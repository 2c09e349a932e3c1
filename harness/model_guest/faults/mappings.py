"""What goes wrong where a mapping is made, changed, protected, moved, advised, touched or taken away."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

MAPPINGS = (
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
        "populate-write-reads",
        "MADV_POPULATE_WRITE brings pages in as a load would",
        ("madvise.populate",),
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
        "munmap-keeps-tlb",
        "no flush after munmap",
        ("tlb.no-stale", "fault.signal"),
    ),
    Fault(
        "split-loses-advice",
        "the upper part of a mapping that is cut in two forgets what fork was advised to do with it",
        ("fork.dontfork",),
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
        "remap-loses-growth",
        "a stack that mremap has moved does not grow any more",
        ("stack.grows",),
    ),
    Fault(
        "remap-leaves-mapping",
        "a mapping that mremap moves to where the kernel likes stays, empty, where it was",
        ("mremap.preserves",),
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
        "protect-forgets-advice",
        "mprotect drops what fork was advised to do with the mapping",
        ("fork.wipeonfork",),
    ),
    Fault(
        "merge-forgets-advice",
        "neighbours become one mapping whatever fork was advised to do with them",
        ("fork.dontfork",),
    ),
    Fault(
        "dofork-ignored",
        "memory that was advised not to be forked stays so, whatever is advised later",
        ("fork.dontfork",),
    ),
    Fault(
        "keeponfork-ignored",
        "memory that was advised to be wiped in children stays so, whatever is advised later",
        ("fork.wipeonfork",),
    ),
    Fault(
        "split-loses-growth",
        "the lower part of a stack that is cut in two does not grow any more",
        ("stack.grows",),
    ),
    Fault(
        "merge-forgets-mode",
        "neighbours become one mapping however the descriptors of their file were opened",
        ("mmap.open-mode",),
    ),
    Fault(
        "remap-part-loses-offset",
        "a part of a mapping that is moved begins at the page of the file where the whole mapping did",
        ("mremap.preserves",),
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
        "remap-loses-dirty",
        "what was stored to a page before it was moved is no reason to keep it, where it is free to go",
        ("madvise.free",),
    ),
    Fault(
        "mprotect-loses-dirty",
        "what was stored to a page before its protection changed is no reason to keep it, where it is free to go",
        ("madvise.free",),
    ),
    Fault(
        "fork-loses-dirty",
        "what was stored to a page before a fork is no reason to keep it, where it is free to go",
        ("madvise.free",),
    ),
    Fault(
        "kernel-write-leaves-clean",
        "what the kernel stores to a page is no reason to keep it, where it is free to go",
        ("madvise.free",),
    ),
    Fault(
        "free-keeps-tlb",
        "no flush after MADV_FREE, so that the CPU does not mark the entry with the next store",
        ("madvise.free", "tlb.no-stale"),
    ),
    Fault(
        "pageout-ignores-dirty",
        "MADV_PAGEOUT drops what was free to go, and was stored to since",
        ("madvise.free",),
    ),
    Fault(
        "pageout-takes-stored",
        "MADV_PAGEOUT drops anonymous memory that is nowhere else",
        ("madvise.pageout",),
    ),
    Fault(
        "pageout-takes-shared",
        "MADV_PAGEOUT frees a frame that others hold",
        ("madvise.pageout",),
    ),
    Fault(
        "pageout-drops-cache",
        "MADV_PAGEOUT drops pages of files from the page cache, which are nowhere else",
        ("madvise.pageout",),
    ),
    Fault(
        "sigbus-before-protection",
        "a touch behind the end of a file is answered with SIGBUS, also where the protection forbids it",
        ("fault.signal",),
    ),
    Fault(
        "merge-ignores-file",
        "neighbours become one mapping though they are of two files",
        ("mmap.geometry",),
    ),
    Fault(
        "merge-ignores-page",
        "neighbours become one mapping whatever page of their file each begins at",
        ("mmap.geometry", "file.private-offset"),
    ),
    Fault(
        "border-keeps-offset",
        "where mprotect moves the border between two mappings of a file up, the upper one keeps the page it began at",
        ("mmap.geometry", "file.private-offset"),
    ),
    Fault(
        "merge-ignores-sharing",
        "neighbours become one mapping though one of them is private",
        ("mmap.geometry",),
    ),
    Fault(
        "brk-shrink-takes-more",
        "the break is taken back, and with it the page behind the heap",
        ("brk.exact",),
    ),
    Fault(
        "dontneed-keeps-tlb",
        "no flush after MADV_DONTNEED",
        (
            "madvise.dontneed",
            "tlb.no-stale",
        ),
    ),
    Fault(
        "brk-shrink-keeps",
        "the break is taken back, and the memory behind it stays",
        ("brk.exact",),
    ),
    Fault(
        "brk-inherits-protection",
        "what a heap grows by is protected as the page below it",
        ("brk.exact",),
    ),
    Fault(
        "brk-inherits-advice",
        "what a heap grows by is forked as the page below it was advised to be",
        ("fork.dontfork", "brk.exact"),
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
        "mmap-chooses-overlapping",
        "the kernel chooses an address a page too near to what is mapped next to it",
        ("mmap.geometry",),
    ),
    Fault(
        "stack-gap-too-small",
        "a stack grows to 255 pages above other memory",
        ("stack.grows",),
    ),
    Fault(
        "stack-gap-too-large",
        "a stack does not grow to 256 pages above other memory",
        ("stack.grows",),
    ),
    Fault(
        "stack-no-guard",
        "a stack grows until it touches what is below it",
        ("stack.grows",),
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
)
