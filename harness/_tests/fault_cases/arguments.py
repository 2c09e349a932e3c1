"""Programs on which the faults of `harness.model_guest.faults.arguments` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "map-writes-read-only-file": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f:r
        """,
    ),
    "map-of-unreadable-file": Case(
        "outcomes",
        """
        p0: map a 1 w shared f:w
        """,
    ),
    "private-map-wants-writable-file": Case(
        "outcomes",
        """
        p0: map a 1 rw private f:r
        p0: store a[0] 0x11
        """,
    ),
    "mprotect-writes-read-only-file": Case(
        "outcomes",
        """
        p0: map a 1 r shared f:r
        p0: protect a[0] rw
        p0: store a[0] 0x11
        """,
    ),
    "remap-forgets-open-mode": Case(
        "outcomes",
        """
        p0: map a 1 r shared f:r
        p0: remap a[0] b[0]
        p0: protect b[0] rw
        """,
    ),
    "mmap-rounds-down": Case(
        "outcomes",
        """
        p0: map a[0..1]-1 rw private anon
        p0: store a[1] 0x11
        """,
    ),
    "munmap-rounds-down": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: unmap a[0..1]-1
        p0: load a[1]
        """,
    ),
    "mprotect-rounds-down": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: protect a[0..1]-1 r
        p0: store a[1] 0x11
        """,
    ),
    "madvise-rounds-down": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: advise a[0..1]-1 dontneed
        p0: load a[1]
        """,
    ),
    "mremap-rounds-down": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: remap a[0..1]-1 b[0..1]-1
        p0: load b[1]
        """,
    ),
    "msync-rounds-down": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: sync a[0..1]-1
        """,
    ),
    "length-0-is-a-page": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: protect a[0]-4096 none
        p0: load a[0]
        """,
    ),
    "mprotect-refuses-length-0": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: protect a[0]-4096 r
        """,
    ),
    "noreplace-replaces": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: map a 1 rw private anon noreplace
        """,
    ),
    "noreplace-looks-at-start": Case(
        "outcomes",
        """
        p0: map a[1] rw private anon
        p0: map a 2 rw private anon noreplace
        """,
    ),
    "noreplace-keeps-distance": Case(
        "outcomes",
        """
        p0: map a[1] rw private anon
        p0: map a 1 rw private anon noreplace
        """,
    ),
    "hint-looks-at-start": Case(
        "outcomes",
        """
        p0: map a[1] rw private anon
        p0: map a 2 rw private anon hint
        """,
    ),
    "remap-duplicates-private": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: remap a[0]-4096 b[0]
        """,
    ),
    "remap-duplicate-loses-offset": Case(
        "outcomes",
        """
        p0: map a 2 rw shared f
        p0: remap a[1]-4096 b[0]
        p0: load b[0]
        """,
    ),
    "remap-duplicate-takes-old": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: remap a[0]-4096 b[0]
        p0: load a[0]
        """,
    ),
    "brk-goes-below-start": Case(
        "outcomes",
        """
        p0: brk data[0]
        """,
    ),
    "sync-forgets-hole": Case(
        "outcomes",
        """
        p0: map a[1] rw shared f
        p0: sync a[0..1]
        """,
    ),
    "length-wraps": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: try protect-wrapping a[0]
        """,
    ),
    "remap-length-wraps": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: try remap-wrapping a[0]
        """,
    ),
    "populate-ignored": Case(
        "observations",
        """
        p0: map a 2 rw private anon fixed populate
        """,
    ),
    "populate-reads": Case(
        "observations",
        """
        p0: map a 1 rw private anon fixed populate
        """,
    ),
    "populate-gives-cache": Case(
        "outcomes",
        """
        p0: map a 1 rw private f fixed populate
        p0: map b 1 r shared f
        p0: store a[0] 0x11
        p0: load b[0]
        """,
    ),
    "populate-tells-failure": Case(
        "outcomes",
        """
        p0: truncate f 0
        p0: map a 1 rw private f fixed populate
        """,
    ),
    "populate-asks-nobody": Case(
        "observations",
        """
        p0: map a 1 none private anon fixed populate
        """,
    ),
    "populate-keeps-hold": Case(
        "observations",
        """
        p0: map a 1 rw private anon fixed populate
        """,
    ),
    "brk-answers-errno": Case(
        "outcomes",
        """
        p0: map heap[1] rw private anon
        p0: brk heap[2]
        """,
    ),
}
