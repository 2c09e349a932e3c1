"""What goes wrong between a mapping, its file and the page cache."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

FILE_PAGES = (
    Fault(
        "file-offset-wraps",
        "of the page of the file that a mapping asks for nine bits are looked at",
        ("exec.image-intact", "file.private-offset"),
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
        "truncate-forgets-others",
        "truncation takes pages from the mappings of who truncates alone",
        ("file.truncate-cuts",),
    ),
    Fault(
        "truncate-forgets-mapping",
        "truncation takes pages from two mappings of a process at most",
        ("file.truncate-cuts",),
    ),
    Fault(
        "merge-hides-from-truncate",
        "truncation does not find what was mapped right behind another mapping of the file, and became one with it",
        ("file.truncate-cuts",),
    ),
    Fault(
        "truncate-keeps-tlb",
        "no flush after truncation",
        ("file.truncate-cuts", "tlb.no-stale"),
    ),
    Fault(
        "last-page-not-zeroed",
        "truncation within the last page of a file leaves the bytes behind the new end",
        ("file.truncate-cuts",),
    ),
    Fault(
        "truncate-forgets-page",
        "the first whole page behind the new end of a file is there again when the file grows",
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
        "sync-writes-private",
        "msync writes private copies of the pages of a file to the file",
        ("cache.private-write-stays-out",),
    ),
    Fault(
        "hole-is-zero-page",
        "a load of a hole of a file that is mapped shared maps the zero page, whoever stores there later",
        ("file.shared-coherent", "fork.shared-stays-shared"),
    ),
    Fault(
        "fork-forgets-hold",
        "a child does not hold the shared memory that it maps, which ends with it for its parent, too",
        ("fork.shared-stays-shared", "count.equals-references"),
    ),
    Fault(
        "split-forgets-hold",
        "of a mapping of shared memory that is cut in two one part does not hold the memory, which ends with the other",
        ("fork.shared-stays-shared", "count.equals-references"),
    ),
)
