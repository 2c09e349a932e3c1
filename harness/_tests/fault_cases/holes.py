"""Programs on which the faults of `harness.model_guest.faults.holes` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "punch-keeps-mappings": Case(
        "outcomes",
        """
        p0: map a 2 rw shared f
        p0: load a[0]
        p0: punch f 0 4096
        p0: load a[0]
        """,
    ),
    "punch-forgets-others": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: load a[0]
        p0: fork p1
        p1: punch f 0 4096
        p0: load a[0]
        """,
    ),
    "punch-takes-copies": Case(
        "outcomes",
        """
        p0: map a 1 rw private f
        p0: store a[0] 0x11
        p0: punch f 0 4096
        p0: load a[0]
        """,
    ),
    "punch-keeps-cache": Case(
        "outcomes",
        """
        p0: punch f 0 4096
        p0: map a 1 r shared f
        p0: load a[0]
        """,
    ),
    "punch-leaves-parts": Case(
        "outcomes",
        """
        p0: map a 2 r shared f
        p0: punch f 100 4200
        p0: load a[0]+100
        """,
    ),
    "punch-rounds-out": Case(
        "outcomes",
        """
        p0: map a 2 r shared f
        p0: punch f 100 4096
        p0: load a[0]+99
        """,
    ),
    "punch-forgets-last-page": Case(
        "outcomes",
        """
        p0: map a 3 r shared f
        p0: punch f 0 8192
        p0: load a[1]
        """,
    ),
    "punch-cuts-size": Case(
        "outcomes",
        """
        p0: map a 4 r shared f
        p0: punch f 8192 16384
        p0: load a[3]
        """,
    ),
    "punch-keeps-tlb": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: store a[0] 0x11
        p0: punch f 0 4096
        p0: load a[0]
        """,
    ),
    "punch-keeps-hold": Case(
        "leftover",
        """
        p0: map a 1 rw shared f
        p0: store a[0] 0x11
        observe
        p0: punch f 0 4096
        """,
    ),
    "remove-is-dontneed": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: store a[0] 0x11
        p0: advise a[0] remove
        p0: load a[0]
        """,
    ),
    "remove-forgets-offset": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f+1
        p0: load a[0]
        p0: advise a[0] remove
        p0: load a[0]
        """,
    ),
}
