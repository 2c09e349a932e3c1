"""Programs on which the faults of `harness.model_guest.faults.kernel_access` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "poke-writes-caller": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: fork p1
        p0: poke p1 a[0] 0x22
        p0: load a[0]
        """,
    ),
    "poke-asks-caller": Case(
        "outcomes",
        """
        p0: fork p1
        p1: map a 1 rw private anon
        p0: poke p1 a[0] 0x22
        """,
    ),
    "copy-range-copies-pages": Case(
        "outcomes",
        """
        p0: map a 1 rw shared g
        p0: load a[0]+600
        p0: copyrange f 0 g 0 17
        p0: load a[0]+600
        """,
    ),
    "copy-range-forgets-overlap": Case(
        "outcomes",
        """
        p0: copyrange f 100 f 150 100
        """,
    ),
    "copy-range-keeps-size": Case(
        "outcomes",
        """
        p0: map a 3 rw shared g
        p0: copyrange f 0 g 8192 17
        p0: load a[2]
        """,
    ),
    "failed-write-extends": Case(
        "outcomes",
        """
        p0: map a 3 rw shared g
        p0: write g 12288 b[0] 10
        p0: load a[2]
        """,
    ),
    "short-write-grows-file": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: truncate f 0
        p0: write f 0 a[0]+4090 600
        p0: read f 0 data[0] 600
        """,
    ),
    "readv-goes-on": Case(
        "outcomes",
        """
        p0: map a 3 rw private anon
        p0: fill a[2] 0x33
        p0: protect a[1] r
        p0: readv f 0 a[0]+4090 a[2] 13
        p0: load a[2]
        """,
    ),
    "sendfile-moves-page": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: sendfile f 0 g 0 4096
        p0: store a[0] 0x11
        p0: read g 0 bss[0] 1
        p0: load bss[0]
        """,
    ),
    "splice-takes-more": Case(
        "outcomes",
        """
        p0: map a 1 rw shared f
        p0: splice f 0
        p0: feed 0x11
        p0: load a[0]+1
        """,
    ),
    "kernel-read-ignores-protection": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: protect bss[0] none
        p0: write f 0 bss[0] 1
        """,
    ),
    "force-grants-write": Case(
        "outcomes",
        """
        p0: map a 1 r private f
        p0: load a[0]
        p0: force a[0] 0x22
        p0: store a[0] 0x33
        """,
    ),
    "kernel-write-ignores-cow": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: receive pipe a[0] 1 0x22
        p0: load a[0]
        """,
    ),
    "kernel-write-overruns": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: receive pipe a[0] 3 0x22
        p0: load a[0]+3
        """,
    ),
    "kernel-write-ignores-protection": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] r
        p0: receive pipe a[0] 1 0x22
        p0: load a[0]
        """,
    ),
    "reap-status-ignores-cow": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: fork p2
        p1: exit 7
        p0: reap p1 a[0]
        p2: load a[0]+1
        """,
    ),
    "signal-frame-ignores-cow": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: fill a[1] 0x11
        p0: fork p1
        p1: handle a[1]
        p0: load a[1]+4000
        """,
    ),
    "force-writes-shared-frame": Case(
        "outcomes",
        """
        p0: fork p1
        p0: load text[0]
        p0: force text[0] 0x22
        p1: load text[0]
        """,
    ),
    "cow-ignores-pins": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: pin a[0]
        p1: unmap a[0]
        p0: store a[0] 0x22
        p1: unpin
        """,
    ),
    "pin-not-counted": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: pin a[0]
        p0: unmap a[0]
        p0: unpin
        """,
    ),
    "pin-leaks": Case(
        "leftover",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: pin a[0]
        observe
        p0: exit 0
        """,
    ),
    "fork-shares-fixed-buffer": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: fix a[0]
        p0: fork p1
        p0: store a[0] 0x11
        p0: deliver a[0]+1 0x22
        p0: load a[0]+1
        """,
    ),
    "cow-copies-fixed-buffer": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: fix a[0]
        p0: protect a[0] r
        p0: protect a[0] rw
        p0: store a[0] 0x11
        p0: deliver a[0]+1 0x22
        p0: load a[0]+1
        """,
    ),
    "fixed-buffer-not-counted": Case(
        "outcomes",
        """
        p0: map c[7..9] rw private anon
        p0: fix c[7]
        p0: unmap c[7]
        p0: store c[8] 0x11
        p0: fork p1
        p0: deliver c[7]+1 0x22
        p0: load c[8]+1
        """,
    ),
    "print-reads-the-file": Case(
        "outputs",
        """
        p0: store data[0] 0x11
        p0: print data[0] 1
        """,
    ),
    "mem-read-asks-protection": Case(
        "outcomes",
        """
        p0: map a 1 none private anon
        p0: peek a[0] 1
        """,
    ),
    "mem-read-takes-file": Case(
        "outputs",
        """
        p0: map a 1 rw private f
        p0: store a[0] 0x11
        p0: peek a[0] 1
        """,
    ),
    "mem-read-ends-at-page": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: peek a[0]+4095 2
        """,
    ),
    "mem-write-breaks-cow-once": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: fork p1
        p0: force a[0]+4095 0x22 2
        p1: load a[1]
        """,
    ),
    "mem-write-wraps": Case(
        "outcomes",
        """
        p0: map a 2 rw private anon
        p0: force a[0]+4095 0x22 2
        p0: load a[0]
        """,
    ),
    "failed-copy-keeps-page": Case(
        "observations",
        """
        p0: map b 1 r shared f
        p0: load b[0]
        p0: write f 0 a[0] 17
        """,
    ),
    "failed-copy-drops-twice": Case(
        "observations",
        """
        p0: map b 1 r shared f
        p0: load b[0]
        p0: read f 0 a[0] 17
        """,
    ),
}
