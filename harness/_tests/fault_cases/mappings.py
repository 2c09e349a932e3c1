"""Programs on which the faults of `harness.model_guest.faults.mappings` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "limited-map-unmaps-first": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: limit 1
        p0: map a[0..2] rw private anon
        p0: load a[0]
        """,
    ),
    "limit-counts-replaced": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: limit 1
        p0: map a[0..1] rw private anon
        p0: load a[0]
        """,
    ),
    "remap-ignores-limit": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: limit 1
        p0: remap a[0] a[0..2]
        p0: load a[0]
        """,
    ),
    "populate-write-reads": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] populate-write
        """,
    ),
    "mprotect-grants-shared-write": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: protect bss[0] rw
        p0: store bss[0] 0x22
        p1: load bss[0]
        """,
    ),
    "mprotect-keeps-cow-right": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: protect bss[0] r
        p0: store bss[0] 0x22
        """,
    ),
    "mprotect-loops": Case(
        "ending",
        """
        p0: store bss[0] 0x11
        p0: protect bss[0] r
        p0: store bss[0] 0x22
        """,
    ),
    "mprotect-keeps-tlb": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: protect bss[0] r
        p0: store bss[0] 0x22
        """,
    ),
    "munmap-keeps-tlb": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: unmap bss[0]
        p0: load bss[0]
        """,
    ),
    "split-loses-advice": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: advise a[0..1] dontfork
        p0: unmap a[0]
        p0: fork p1
        p1: load a[1]
        """,
    ),
    "munmap-frees-shared": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: unmap bss[0]
        p1: load bss[0]
        """,
    ),
    "batch-hands-out-twice": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: store bss[1] 0x22
        p0: load bss[0]
        """,
    ),
    "batch-not-zeroed": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: load bss[0]+1
        """,
    ),
    "remap-resets-count": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: remap bss[0] a[0]
        """,
    ),
    "remap-leaves-old": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: remap bss[0] a[0]
        p0: load bss[0]
        """,
    ),
    "remap-keeps-tlb": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: remap bss[0] a[0]
        p0: load bss[0]
        """,
    ),
    "remap-loses-growth": Case(
        "outcomes",
        """
        p0: map a[2] rw private stack
        p0: remap a[2] a[8]
        p0: store a[7] 0x11
        """,
    ),
    "remap-leaves-mapping": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: roam a[0] b[0..1]
        p0: load a[0]
        """,
    ),
    "remap-grows-over": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: map a[1] r private anon
        p0: remap a[0] a[0..1]
        """,
    ),
    "flush-first-page": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: store bss[1] 0x11
        p0: protect bss[0..1] r
        p0: store bss[1] 0x22
        """,
    ),
    "protect-forgets-advice": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: advise bss[0] wipeonfork
        p0: protect bss[0] r
        p0: fork p1
        p1: load bss[0]
        """,
    ),
    "dofork-ignored": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] dontfork
        p0: advise a[0] dofork
        p0: fork p1
        p1: load a[0]
        """,
    ),
    "keeponfork-ignored": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] wipeonfork
        p0: advise a[0] keeponfork
        p0: fork p1
        p1: load a[0]
        """,
    ),
    "split-loses-growth": Case(
        "outcomes",
        """
        p0: map a[3..4] rw private stack
        p0: store a[3] 0x11
        p0: protect a[4] r
        p0: store a[2] 0x22
        p0: load a[2]
        """,
    ),
    "merge-forgets-mode": Case(
        "outcomes",
        """
        p0: map a[0] r shared f
        p0: map a[1] r shared f+1:r
        p0: protect a[1] rw
        """,
    ),
    "merge-forgets-advice": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: advise a[0] dontfork
        p0: map a[1] rw private anon
        p0: fork p1
        p1: load a[1]
        """,
    ),
    "remap-part-loses-offset": Case(
        "outcomes",
        """
        p0: map a 2 rw private f
        p0: remap a[1] b[0]
        p0: load b[0]
        """,
    ),
    "remap-loses-protection": Case(
        "outcomes",
        """
        p0: protect bss[0] r
        p0: remap bss[0] a[0]
        p0: store a[0] 0x11
        """,
    ),
    "dontneed-ignored": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: advise bss[0] dontneed
        p0: load bss[0]
        """,
    ),
    "remap-loses-dirty": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: store a[0] 0x22
        p0: remap a[0] a[1]
        p0: advise a[1] pageout
        p0: load a[1]
        """,
    ),
    "mprotect-loses-dirty": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: store a[0] 0x22
        p0: protect a[0] r
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "fork-loses-dirty": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: store a[0] 0x22
        p0: fork p1
        p1: exit 0
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "kernel-write-leaves-clean": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: receive pipe a[0] 1 0x22
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "free-keeps-tlb": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: store a[0] 0x22
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "pageout-ignores-dirty": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] free
        p0: store a[0] 0x22
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "pageout-takes-stored": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "pageout-takes-shared": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] free
        p1: advise a[0] pageout
        """,
    ),
    "pageout-drops-cache": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: store a[0] 0x11
        p0: advise a[0] pageout
        p0: load a[0]
        """,
    ),
    "free-takes-shared": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: advise bss[0] free
        p0: load bss[0]
        """,
    ),
    "brk-shrink-keeps": Case(
        "outcomes",
        """
        p0: brk heap[1]
        p0: store heap[0] 0x11
        p0: brk heap[0]
        p0: load heap[0]
        """,
    ),
    "brk-inherits-advice": Case(
        "outcomes",
        """
        p0: brk heap[1]
        p0: advise heap[0] dontfork
        p0: brk heap[2]
        p0: fork p1
        p1: load heap[1]
        """,
    ),
    "brk-inherits-protection": Case(
        "outcomes",
        """
        p0: brk heap[1]
        p0: protect heap[0] r
        p0: brk heap[2]
        p0: store heap[1] 0x11
        """,
    ),
    "brk-runs-over": Case(
        "outcomes",
        """
        p0: map heap 1 rw private anon
        p0: store heap[0] 0x11
        p0: brk heap[1]
        p0: load heap[0]
        """,
    ),
    "mmap-chooses-taken": Case(
        "outcomes",
        """
        p0: scratch 1
        p0: load text[0]
        """,
    ),
    "errno-wrong": Case(
        "outcomes",
        """
        p0: try unmap-length-0 a[0]
        """,
    ),
    "stack-no-guard": Case(
        "outcomes",
        """
        p0: map heap[1] rw private stack
        p0: store heap[0] 0x11
        """,
    ),
    "mprotect-moves-pages": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        observe
        p0: protect bss[0] r
        """,
    ),
    "map-keeps-old-pages": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: map a 1 rw private anon
        p0: load a[0]
        """,
    ),
    "load-brings-neighbour": Case(
        "observations",
        """
        p0: load bss[0]
        p0: protect bss[1] r
        """,
    ),
    "store-lost-in-fault": Case(
        "outcomes",
        """
        p0: load bss[0]
        p0: store bss[0] 0x11
        p0: load bss[0]
        """,
    ),
    "mprotect-forgives-holes": Case(
        "outcomes",
        """
        p0: protect a[0] r
        """,
    ),
    "segv-says-accerr": Case(
        "outcomes",
        """
        p0: load a[0]
        """,
    ),
    "segv-panics": Case(
        "ending",
        """
        p0: crash load a[0]
        """,
    ),
    "mmap-chooses-overlapping": Case(
        "outcomes",
        """
        p0: scratch 2
        """,
    ),
    "stack-gap-too-small": Case(
        "outcomes",
        """
        p0: map d[15] rw private anon
        p0: map h[8] rw private stack
        p0: store h[7] 0x11
        """,
    ),
    "stack-gap-too-large": Case(
        "outcomes",
        """
        p0: map d[15] rw private anon
        p0: map h[9] rw private stack
        p0: store h[8] 0x11
        """,
    ),
    "sigbus-before-protection": Case(
        "outcomes",
        """
        p0: truncate f 0
        p0: map a 1 none private f
        p0: load a[0]
        """,
    ),
    "merge-ignores-file": Case(
        "observations",
        """
        p0: map a 1 r shared f
        p0: map a[1] r shared g+1
        """,
    ),
    "merge-ignores-page": Case(
        "observations",
        """
        p0: map a 1 r shared f+1
        p0: map a[1] r shared f
        """,
    ),
    "border-keeps-offset": Case(
        "observations",
        """
        p0: map a 3 rw private f
        p0: protect a[1..2] r
        p0: protect a[1] rw
        """,
    ),
    "merge-ignores-sharing": Case(
        "observations",
        """
        p0: map a 1 r private f
        p0: map a[1] r shared f+1
        """,
    ),
    "brk-shrink-takes-more": Case(
        "outcomes",
        """
        p0: brk heap[2]
        p0: map heap[2] rw private anon
        p0: brk heap[1]
        p0: load heap[2]
        """,
    ),
    "dontneed-keeps-tlb": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0] dontneed
        p0: load a[0]
        """,
    ),
}
