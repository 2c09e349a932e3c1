"""Programs on which the faults of `harness.model_guest.faults.file_pages` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "file-offset-wraps": Case(
        "outcomes",
        """
        p0: exec large-text
        p0: load textend[2]
        """,
    ),
    "shared-write-lost": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: load a[0]
        p0: store a[0] 0x11
        p0: read f 0 bss[0] 1
        p0: load bss[0]
        """,
    ),
    "write-replaces-page": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: load a[0]
        p0: store bss[0] 0x11
        p0: write f 0 bss[0] 1
        p0: load a[0]
        """,
    ),
    "file-tail-not-zeroed": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: truncate f 100
        p0: load a[0]+200
        """,
    ),
    "truncate-keeps-mapping": Case(
        "outcomes",
        """
        p0: map a 2 rw shared f
        p0: load a[1]
        p0: truncate f 4096
        p0: load a[1]
        """,
    ),
    "truncate-keeps-copies": Case(
        "outcomes",
        """
        p0: map a 2 rw private f
        p0: store a[1] 0x11
        p0: truncate f 4096
        p0: load a[1]
        """,
    ),
    "sigbus-missing": Case(
        "outcomes",
        """
        p0: map a 2 rw shared g+1
        p0: load a[1]
        """,
    ),
    "cache-keeps-ref-after-truncate": Case(
        "leftover",
        """
        p0: map a 2 rw shared f
        p0: load a[1]
        observe
        p0: truncate f 4096
        """,
    ),
    "unlink-frees-mapped": Case(
        "outcomes",
        """
        p0: unlink f
        p0: read f 0 bss[0] 1
        p0: load bss[0]
        """,
    ),
    "file-private-not-cow": Case(
        "outcomes",
        """
        p0: fork p1
        p0: store data[0] 0x22
        p1: load data[0]
        """,
    ),
    "cache-poisoned": Case(
        "outcomes",
        """
        p0: fork p1
        p0: store data[0] 0x22
        p1: load data[0]
        """,
    ),
    "split-loses-offset": Case(
        "outcomes",
        """
        p0: unmap data[1]
        p0: load data[2]
        """,
    ),
    "hole-is-zero-page": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: load a[0]
        p0: fork p1
        p0: store a[0] 0x11
        p1: load a[0]
        """,
    ),
    "fork-forgets-hold": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: advise a[0] dontneed
        p0: load a[0]
        """,
    ),
    "split-forgets-hold": Case(
        "outcomes",
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: unmap a[1]
        p0: advise a[0] dontneed
        p0: load a[0]
        """,
    ),
    "truncate-forgets-others": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: fork p1
        p1: load a[0]
        p0: truncate f 0
        p1: load a[0]
        """,
    ),
    "truncate-forgets-mapping": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: map b 1 rw shared f
        p0: map c 1 rw shared f
        p0: load c[0]
        p0: truncate f 0
        p0: load c[0]
        """,
    ),
    "merge-hides-from-truncate": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: map a[1] rw shared f+1
        p0: load a[1]
        p0: truncate f 4096
        p0: load a[1]
        """,
    ),
    "truncate-keeps-tlb": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: load a[0]
        p0: truncate f 0
        p0: load a[0]
        """,
    ),
    "last-page-not-zeroed": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f+3
        p0: load a[0]
        p0: truncate f 12788
        p0: load a[0]+600
        """,
    ),
    "truncate-forgets-page": Case(
        "outcomes",
        """
        p0: map a 3 rw shared f
        p0: truncate f 100
        p0: truncate f 12288
        p0: load a[1]
        """,
    ),
    "sync-writes-private": Case(
        "outcomes",
        """
        p0: map a 2 rw private f
        p0: store a[1] 0x11
        p0: sync a[0..1]
        p0: map b[0] r private f+1
        p0: load b[0]
        """,
    ),
}
