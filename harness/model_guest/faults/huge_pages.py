"""What goes wrong with huge pages: the toy kernel has some with any of these."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

HUGE_PAGES = (
    Fault("huge-not-zeroed", "a huge page keeps the bytes that its frames had", ("huge.transparent", "zero.fresh-memory")),
    Fault(
        "huge-split-loses-cow",
        "the pages of a huge page that is shared can be stored to once it is split",
        ("huge.transparent", "fork.parent-store-private", "fork.child-store-private"),
    ),
    Fault(
        "huge-split-forgets-counts",
        "who splits a huge page takes all of its frames to be held once",
        ("huge.transparent", "count.equals-references"),
    ),
    Fault(
        "huge-split-leaks-table",
        "a page table that was set apart for the split of a huge page is never given back",
        ("huge.transparent", "tables.conserved"),
    ),
    Fault(
        "huge-cow-copies-first-page",
        "a store to a huge page that is shared copies all of it, and the bytes of its first page",
        ("huge.transparent", "cow.break-copies-all"),
    ),
    Fault(
        "huge-sole-owner-copies",
        "a store to a huge page that nobody shares any more copies the page",
        ("huge.transparent", "cow.sole-owner-reuses"),
    ),
    Fault(
        "huge-reuse-looks-at-first",
        "a store to a huge page takes all of it for its own where its first frame is nobody else's",
        ("huge.transparent", "fork.parent-store-private", "fork.child-store-private"),
    ),
    Fault(
        "huge-fork-keeps-writable",
        "fork leaves the parent the right to write to its huge pages",
        ("huge.transparent", "fork.parent-store-private"),
    ),
    Fault(
        "huge-fork-counts-once",
        "fork counts of a huge page the first frame alone",
        ("huge.transparent", "count.equals-references"),
    ),
    Fault(
        "huge-teardown-frees-first-only",
        "teardown lets go of the first frame of a huge page alone",
        ("huge.transparent", "conserve.frames"),
    ),
    Fault(
        "huge-unmap-part-frees-all",
        "munmap of a part of a huge page takes all of it away",
        ("huge.transparent", "munmap.exact"),
    ),
    Fault(
        "huge-protect-part-protects-all",
        "mprotect of a part of a huge page changes all of it",
        ("huge.transparent", "mprotect.last-one-counts"),
    ),
    Fault(
        "huge-protect-part-ignored",
        "mprotect of a part of a huge page does nothing",
        ("huge.transparent", "mprotect.last-one-counts"),
    ),
    Fault(
        "huge-dontneed-part-ignored",
        "MADV_DONTNEED of a part of a huge page does nothing",
        ("huge.transparent", "madvise.dontneed"),
    ),
    Fault(
        "huge-keeps-tlb",
        "when a part of a huge page has changed, the CPU keeps translations of it",
        ("huge.transparent", "tlb.no-stale"),
    ),
    Fault(
        "huge-remap-loses-offset",
        "the pages of a huge page that mremap moves are those that the new place asks for",
        ("huge.transparent", "mremap.preserves"),
    ),
    Fault(
        "huge-mapped-beyond-vma",
        "a huge page comes where a mapping has more than half of it",
        ("huge.transparent", "munmap.exact"),
    ),
    Fault(
        "huge-replaces-small",
        "a huge page takes the place of pages that were stored to before",
        ("huge.transparent", "store.load"),
    ),
)
