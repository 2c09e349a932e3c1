"""What a system call makes of its arguments: the descriptor, the address, the length."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

ARGUMENTS = (
    Fault(
        "map-writes-read-only-file",
        "mmap gives the right to write to a file that is open for reading alone",
        ("mmap.open-mode",),
    ),
    Fault(
        "map-of-unreadable-file",
        "mmap of a file that is open for writing alone succeeds",
        ("mmap.open-mode",),
    ),
    Fault(
        "private-map-wants-writable-file",
        "a private mapping that is to be written asks for a file that is open for writing",
        ("mmap.open-mode",),
    ),
    Fault(
        "mprotect-writes-read-only-file",
        "mprotect gives the right to write to a file that is open for reading alone",
        ("mmap.open-mode",),
    ),
    Fault(
        "remap-forgets-open-mode",
        "a moved mapping may be written, though its file is open for reading alone",
        ("mmap.open-mode",),
    ),
    Fault(
        "mmap-rounds-down",
        "mmap leaves out the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "munmap-rounds-down",
        "munmap leaves the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "mprotect-rounds-down",
        "mprotect leaves out the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "madvise-rounds-down",
        "madvise leaves out the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "mremap-rounds-down",
        "mremap leaves out the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "msync-rounds-down",
        "msync leaves out the last page of a length that ends within it",
        ("length.rounds-up",),
    ),
    Fault(
        "length-0-is-a-page",
        "mprotect, madvise and mremap take no length at all for a page",
        ("length.rounds-up",),
    ),
    Fault(
        "mprotect-refuses-length-0",
        "mprotect of no length at all fails",
        ("length.rounds-up",),
    ),
    Fault(
        "noreplace-replaces",
        "MAP_FIXED_NOREPLACE replaces what is there",
        ("mmap.noreplace",),
    ),
    Fault(
        "noreplace-looks-at-start",
        "MAP_FIXED_NOREPLACE looks at the first page of its range alone",
        ("mmap.noreplace",),
    ),
    Fault(
        "noreplace-keeps-distance",
        "MAP_FIXED_NOREPLACE fails right below another mapping",
        ("mmap.noreplace",),
    ),
    Fault(
        "hint-looks-at-start",
        "mmap follows a hint to a range of which the first page alone is free",
        ("mmap.noreplace",),
    ),
    Fault(
        "remap-duplicates-private",
        "mremap makes a second mapping of private memory",
        ("mremap.duplicates",),
    ),
    Fault(
        "remap-duplicate-loses-offset",
        "a second mapping by mremap begins where the first one does, not at the page that was given",
        ("mremap.duplicates",),
    ),
    Fault(
        "remap-duplicate-takes-old",
        "a second mapping by mremap takes the place of the first",
        ("mremap.duplicates",),
    ),
    Fault(
        "brk-goes-below-start",
        "the break may be set below where the heap begins, and takes what is there",
        ("brk.exact",),
    ),
    Fault(
        "brk-answers-errno",
        "brk answers with an errno where it fails, and not with the break as it is",
        ("brk.exact",),
    ),
    Fault(
        "sync-forgets-hole",
        "msync of a range with a hole succeeds, if shared memory follows the hole",
        ("errno.table",),
    ),
    Fault(
        "length-wraps",
        "mprotect and msync take a length that reaches around the end of all addresses for none",
        ("errno.table",),
    ),
    Fault(
        "remap-length-wraps",
        "mremap finds room for a length that reaches around the end of all addresses",
        ("errno.table",),
    ),
    Fault(
        "populate-ignored",
        "MAP_POPULATE brings no page in",
        ("mmap.populate",),
    ),
    Fault(
        "populate-reads",
        "MAP_POPULATE brings in private memory that may be written as a load would",
        ("mmap.populate",),
    ),
    Fault(
        "populate-gives-cache",
        "MAP_POPULATE maps the page cache's pages into private memory as if they were its own",
        ("mmap.populate", "cache.private-write-stays-out"),
    ),
    Fault(
        "populate-tells-failure",
        "mmap fails where MAP_POPULATE cannot bring a page in",
        ("mmap.populate",),
    ),
    Fault(
        "populate-asks-nobody",
        "MAP_POPULATE brings in memory that may not be touched",
        ("mmap.populate",),
    ),
    Fault(
        "populate-keeps-hold",
        "MAP_POPULATE holds each page that it brings in, and does not let go",
        ("mmap.populate", "count.equals-references"),
    ),
)
"""Wrong on the way from the arguments to what is done."""
