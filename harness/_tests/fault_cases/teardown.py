"""Programs on which the faults of `harness.model_guest.faults.teardown` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "teardown-frees-as-zeroed": Case(
        "observations",
        """
        p0: fork p1
        p1: fill data[0] 0x11
        p1: exit 0
        p0: map a 16 rw private anon
        """
        + "".join(f"p0: store a[{page}] 0x22\n" for page in range(16)),
    ),
    "failed-fork-keeps-slot": Case("outcomes", "p0: refuse\n" * 64 + "p0: crowd 400\n"),
    "stack-growth-leaks": Case(
        "observations",
        """
        p0: map a[8] rw private stack
        p0: store a[7] 0x11
        """,
    ),
    "exec-leaks-frame": Case(
        "after",
        """
        p0: exec
        """,
    ),
    "fork-leaks-frame": Case(
        "after",
        """
        p0: fork p1
        """,
    ),
    "fork-leaks-at-times": Case(
        "after",
        """
        p0: fork p1
        p0: fork p2
        p0: fork p3
        p0: fork p4
        """,
    ),
    "exec-forgets-threads": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: threads 2
        p1: exec
        """,
    ),
    "leader-exit-ends-process": Case(
        "outcomes",
        """
        p0: handover exits
        """,
    ),
    "leader-exit-drops-space": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: handover exits
        p0: load bss[0]
        """,
    ),
    "leader-exit-keeps-hold": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: handover exits
        p1: exit 0
        """,
    ),
    "thread-exec-keeps-old-space": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: handover exits
        p1: exec
        """,
    ),
    "thread-exit-drops-twice": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: clone p1
        p1: handover exits
        p1: exit 0
        p0: load bss[0]
        """,
    ),
    "reap-efault-keeps-zombie": Case(
        "outcomes",
        """
        p0: fork p1
        p1: exit 0
        p0: reap p1 text[0]
        p0: wait p1
        """,
    ),
    "exit-forgets-threads": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: threads 2
        p1: exit 0
        """,
    ),
    "kill-skips-teardown": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: kill p1
        """,
    ),
    "kill-drops-twice": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: clone p1
        p0: kill p1
        p0: load bss[0]
        """,
    ),
    "kill-finds-nobody": Case(
        "outcomes",
        """
        p0: fork p1
        p0: kill p1
        p0: wait p1
        p0: kill p1
        """,
    ),
    "kill-misses-zombie": Case(
        "outcomes",
        """
        p0: fork p1
        p0: kill p1
        p0: kill p1
        """,
    ),
    "kill-of-zombie-tells-signal": Case(
        "outcomes",
        """
        p0: fork p1
        p1: exit 7
        p0: kill p1
        p0: wait p1
        """,
    ),
    "kill-of-zombie-drops-again": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: clone p1
        p1: exit 7
        p0: kill p1
        p0: load bss[0]
        """,
    ),
    "failed-exec-leaks-space": Case(
        "after",
        """
        p0: try exec-no-program a[0]
        """,
    ),
    "failed-exec-drops-pages": Case(
        "outcomes",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: try exec-no-program a[0]
        p0: load a[0]
        """,
    ),
    "zombie-keeps-space": Case(
        "observations",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: exit 0
        """,
    ),
    "kill-reports-sigsegv": Case(
        "outcomes",
        """
        p0: fork p1
        p0: kill p1
        p0: wait p1
        """,
    ),
    "exec-template-of-wrong-image": Case(
        "outcomes",
        """
        p0: exec small
        p0: load data[0]
        """,
    ),
    "exec-tail-not-zeroed": Case(
        "outcomes",
        """
        p0: exec small
        p0: load data[1]+1000
        """,
    ),
    "exec-zeroes-tail-in-cache": Case(
        "outcomes",
        """
        p0: exec small
        p0: advise data[1] dontneed
        p0: load data[1]+1000
        """,
    ),
    "exec-keeps-old-mappings": Case(
        "outcomes",
        """
        p0: exec small
        p0: load bss[0]
        """,
    ),
    "large-bss-cut": Case(
        "outcomes",
        """
        p0: exec large-bss
        p0: load bssend[2]
        """,
    ),
    "no-vm-drop": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: wait p1
        p0: store a[0] 0x22
        """,
    ),
    "free-cached-pages": Case(
        "outcomes",
        """
        p0: fork p1
        p1: load data[1]
        p1: exit 0
        p0: wait p1
        p0: load data[1]
        """,
    ),
    "dec-only-teardown": Case(
        "after",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: exit 0
        """,
    ),
    "exec-teardown-frees-live-tables": Case(
        "outcomes",
        """
        p0: fork p1
        p1: exec
        p0: fork p2
        p2: store bss[0] 0x22
        p1: load bss[0]
        """,
    ),
    "double-free-root": Case(
        "outcomes",
        """
        p0: fork p1
        p1: exit 0
        p0: wait p1
        p0: fork p2
        p0: fork p3
        p2: store bss[0] 0x22
        p3: store bss[0] 0x33
        p2: load bss[0]
        """,
    ),
    "eager-prefault": Case("observations", "p0: map a 16 rw private anon"),
    "leak-page-tables": Case("after", "p0: load data[0]"),
    "exit-leaks-shared-memory": Case(
        "leftover",
        """
        p0: map a 1 rw shared anon
        p0: store a[0] 0x11
        observe
        p0: exit 0
        """,
    ),
    "wait-status-wrong": Case(
        "outcomes",
        """
        p0: fork p1
        p1: crash store text[0]
        p0: wait p1
        """,
    ),
    "clone-vm-exit-frees": Case(
        "ending",
        """
        p0: store bss[0] 0x11
        p0: clone p1
        p1: exit 0
        p0: load bss[0]
        """,
    ),
    "exec-of-clone-tears-down-sharer": Case(
        "ending",
        """
        p0: store bss[0] 0x11
        p0: clone p1
        p1: exec
        p0: load bss[0]
        """,
    ),
    "orphans-stay": Case(
        "unreaped",
        """
        p0: fork p1
        p0: exit 0
        """,
    ),
    "sigchld-kills": Case(
        "ending",
        """
        p0: fork p1
        p1: crash load a[0]
        p0: load bss[0]
        """,
    ),
}
