"""Programs on which the faults of `harness.model_guest.faults.sharing` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "shm-fork-forgets-attach": Case(
        "outcomes",
        "p0: map a 2 rw shared shm\np0: store a[1] 0x11\np0: fork p1\np1: exit 0\np0: advise a[1] dontneed\np0: load a[1]",
    ),
    "shm-exit-keeps-segment": Case("after", "p0: map a 1 rw shared shm\np0: store a[0] 0x11"),
    "shm-detach-of-part-ends-segment": Case(
        "outcomes",
        "p0: map a 2 rw shared shm\np0: store a[1] 0x11\np0: fork p1\np0: unmap a[0]\np0: remap a[1] b[0]\n"
        "p0: advise b[0] dontneed\np0: load b[0]",
    ),
    "load-takes-frame": Case("observations", "p0: load bss[0]"),
    "count-u16": Case(
        "observations",
        """
        p0: mirror many 165 r shared f
        p0: load many[0]
        p0: throng 398 many[0..164]
        """,
    ),
    "failed-fork-leaks": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: store bss[0] 0x11
        p0: starve 5
        observe
        """,
    ),
    "refused-fork-leaks": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: refuse
        observe
        """,
    ),
    "shared-becomes-private": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p0: load a[0]
        """,
    ),
    "shared-untouched-not-shared": Case(
        "outcomes",
        """
        p0: map a 1 rw shared anon
        p0: fork p1
        p1: store a[0] 0x22
        p0: load a[0]
        """,
    ),
    "ghost-fork": Case(
        "outcomes",
        """
        p0: fork p1
        p1: store bss[0] 0x11
        p0: load bss[0]
        """,
    ),
    "fork-keeps-writable": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: store bss[0] 0x22
        p1: load bss[0]
        """,
    ),
    "fork-keeps-writable-child": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: store bss[0] 0x22
        p0: load bss[0]
        """,
    ),
    "fork-keeps-tlb": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: store bss[0] 0x22
        p1: load bss[0]
        """,
    ),
    "fork-forgets-ref": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: load bss[0]
        """,
    ),
    "fork-skips-prot-none": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: protect bss[0] none
        p0: fork p1
        p0: protect bss[0] rw
        p1: protect bss[0] rw
        p0: store bss[0] 0x22
        p1: load bss[0]
        """,
    ),
    "cow-shares": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: store bss[0] 0x22
        p0: load bss[0]
        """,
    ),
    "cow-copies-part": Case(
        "outcomes",
        """
        p0: fill bss[0] 0x11
        p0: fork p1
        p0: store bss[0] 0x22
        p0: load bss[0]+2048
        """,
    ),
    "cow-copies-part-tail": Case(
        "outcomes",
        """
        p0: store data[0] 0x22
        p0: load data[0]+4095
        """,
    ),
    "cow-keeps-old-ref": Case(
        "leftover",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        observe
        p1: store bss[0] 0x22
        """,
    ),
    "sole-owner-stays-readonly": Case(
        "ending",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: store bss[0] 0x22
        """,
    ),
    "sole-owner-always-copies": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: exit 0
        observe
        p0: store bss[0] 0x22
        """,
    ),
    "two-faults-per-write": Case(
        "faults",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: store bss[0] 0x22
        """,
    ),
    "refork-readonly": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: fork p2
        p2: store bss[0] 0x22
        """,
    ),
    "count-u8": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: crowd 255
        p1: store bss[0] 0x22
        p0: load bss[0]
        """,
    ),
    "dontfork-ignored": Case(
        "outcomes",
        """
        p0: advise bss[0] dontfork
        p0: fork p1
        p1: load bss[0]
        """,
    ),
    "wipeonfork-ignored": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: advise bss[0] wipeonfork
        p0: fork p1
        p1: load bss[0]
        """,
    ),
    "vfork-does-not-suspend": Case(
        "outcomes",
        """
        p0: vfork p1
        p1: exit 0
        """,
    ),
    "vfork-copies": Case(
        "outcomes",
        """
        p0: vfork p1
        p1: store bss[0] 0x11
        p1: exit 0
        p0: load bss[0]
        """,
    ),
    "clone-vm-copies": Case(
        "outcomes",
        """
        p0: clone p1
        p1: store bss[0] 0x11
        p0: load bss[0]
        """,
    ),
    "fork-copies-at-once": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        """,
    ),
    "fork-drops-prot-none": Case(
        "observations",
        """
        p0: map a 1 none private anon
        p0: fork p1
        """,
    ),
    "fork-forgets-mapcount": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        """,
    ),
    "zero-page-is-written": Case(
        "outcomes",
        """
        p0: load bss[0]
        p0: load bss[1]
        p0: store bss[0] 0x11
        p0: load bss[1]
        """,
    ),
}
