"""Every planted fault shows: on a program written for it, the trace is not that of the sound kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness.model_guest
from harness.errors import DefinitionError
from harness.model_guest import FAULTS, ModelGuest
from harness.program.outcome import Exited, Faulted, Loaded
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.subject import How

EVERYTHING = How(count_faults=True, accounting=True)


@dataclass(frozen=True)
class Case:
    """A program on which a fault shows, and the part of the trace in which it does."""

    shows_in: str
    program: str
    total_frames: int = 1 << 14
    prefaults: bool = False
    """Whether the sound kernel, to which the broken one is compared, brings pages in early as that does."""


CASES = {
    "load-takes-frame": Case("observations", "p0: load bss[0]"),
    "rss-forgets-unmap": Case("observations", "p0: store bss[0] 0x11\np0: unmap bss[0]"),
    "rss-counts-shared-as-anon": Case("observations", "p0: map a 1 rw shared anon\np0: load a[0]"),
    "rss-not-inherited-by-fork": Case("observations", "p0: store bss[0] 0x11\np0: fork p1"),
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
    "prefault-keeps-bytes": Case("observations", "p0: map a 2 rw private anon", prefaults=True),
    "prefault-counts-twice": Case("observations", "p0: map a 2 rw private anon", prefaults=True),
    "prefault-of-wrong-page": Case("outcomes", "p0: load data[0]", prefaults=True),
    "prefault-stores": Case("outcomes", "p0: load data[0]", prefaults=True),
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
    "count-u16": Case(
        "observations",
        """
        p0: mirror many 165 r shared f
        p0: load many[0]
        p0: throng 398 many[0..164]
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
    "file-offset-wraps": Case(
        "outcomes",
        """
        p0: exec large-text
        p0: load textend[2]
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
    "populate-write-reads": Case(
        "observations",
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] populate-write
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
    "ghost-fork": Case(
        "outcomes",
        """
        p0: fork p1
        p1: store bss[0] 0x11
        p0: load bss[0]
        """,
    ),
    "eager-prefault": Case("observations", "p0: map a 16 rw private anon"),
    "leak-page-tables": Case("after", "p0: load data[0]"),
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
    "munmap-keeps-tlb": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: unmap bss[0]
        p0: load bss[0]
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
    "munmap-frees-shared": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p0: unmap bss[0]
        p1: load bss[0]
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
    "force-grants-write": Case(
        "outcomes",
        """
        p0: map a 1 r private f
        p0: load a[0]
        p0: force a[0] 0x22
        p0: store a[0] 0x33
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
    "exit-leaks-shared-memory": Case(
        "leftover",
        """
        p0: map a 1 rw shared anon
        p0: store a[0] 0x11
        observe
        p0: exit 0
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
    "free-takes-shared": Case(
        "outcomes",
        """
        p0: store bss[0] 0x11
        p0: fork p1
        p1: advise bss[0] free
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
    "brk-shrink-keeps": Case(
        "outcomes",
        """
        p0: brk heap[1]
        p0: store heap[0] 0x11
        p0: brk heap[0]
        p0: load heap[0]
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
    "wait-status-wrong": Case(
        "outcomes",
        """
        p0: fork p1
        p1: crash store text[0]
        p0: wait p1
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
    "orphans-stay": Case(
        "unreaped",
        """
        p0: fork p1
        p0: exit 0
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
    "sigchld-kills": Case(
        "ending",
        """
        p0: fork p1
        p1: crash load a[0]
        p0: load bss[0]
        """,
    ),
    "print-reads-the-file": Case(
        "outputs",
        """
        p0: store data[0] 0x11
        p0: print data[0] 1
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
}


def run(case: Case, *faults: str) -> Trace:
    guest = ModelGuest(faults, total_frames=case.total_frames, prefaults=case.prefaults)
    return guest.execute(parse_program(case.program), EVERYTHING)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_shows_where_its_program_says(name: str) -> None:
    case = CASES[name]

    sound, faulty = run(case), run(case, name)

    assert getattr(faulty, case.shows_in) != getattr(sound, case.shows_in)


def test_no_program_is_kept_for_a_fault_that_is_gone() -> None:
    assert CASES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_the_sound_kernel_runs_the_program_of_a_fault_to_a_clean_end(name: str) -> None:
    trace = run(CASES[name])

    assert (trace.ending, trace.leftover, trace.after) == (Ending.COMPLETE, {}, trace.before)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_no_trace_behind_a_restore(name: str) -> None:
    guest = ModelGuest([name], total_frames=CASES[name].total_frames)
    program = parse_program(CASES[name].program)

    first = guest.execute(program, EVERYTHING)
    guest.restore()
    second = guest.execute(program, EVERYTHING)

    assert second == first


def test_a_kernel_fails_one_decision_per_fault() -> None:
    package = Path(harness.model_guest.__file__).parent
    source = "".join(path.read_text() for path in package.glob("*.py"))
    decided = re.findall(r'has\("([\w-]+)"\)|"([\w-]+)" (?:not )?in self.planted', source)

    names = [first or second for first, second in decided]

    assert {name: names.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 1)
    assert set(names) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_the_contracts_that_it_breaks_once_each(name: str) -> None:
    contracts = FAULTS[name].contracts

    assert contracts
    assert len(set(contracts)) == len(contracts)


def test_an_unknown_fault_is_refused_with_the_names_that_are_close() -> None:
    with pytest.raises(DefinitionError, match=r"no fault 'cow-share'; did you mean cow-shares.*FAULTS"):
        ModelGuest(["cow-share"])


def test_a_dead_kernel_stays_dead_until_it_is_restored() -> None:
    guest = ModelGuest(["exec-teardown-frees-live-tables"])
    wild = parse_program(
        """
        p0: fork p1
        p0: map a 16 rw private anon
        p1: exec
        p0: fill a[0] 0x11
        p0: fill a[1] 0x11
        p0: fill a[2] 0x11
        p0: fill a[3] 0x11
        p0: fill a[4] 0x11
        p0: fill a[5] 0x11
        p0: fill a[6] 0x11
        p0: fill a[7] 0x11
        p0: fill a[8] 0x11
        p0: fill a[9] 0x11
        p1: load data[0]
        """
    )
    harmless = parse_program("p0: load data[0]")

    panicked = guest.execute(wild, How())
    dead = guest.execute(harmless, How())
    guest.restore()
    alive = guest.execute(harmless, How())

    assert (panicked.ending, dead.ending, alive.ending) == (
        Ending.PANICKED,
        Ending.DIED,
        Ending.COMPLETE,
    )
    assert "is not in memory" in panicked.evidence


def test_a_poisoned_page_cache_stays_poisoned_over_programs() -> None:
    guest = ModelGuest(["cache-poisoned"])
    load = parse_program("p0: load data[0]")

    guest.execute(parse_program("p0: store data[0] 0x22"), How())
    poisoned = guest.execute(load, How())
    guest.restore()
    restored = guest.execute(load, How())

    assert poisoned.outcomes == (Loaded(0x22),)
    assert restored.outcomes == (Loaded(0x80),)


def test_a_stale_translation_lasts_only_until_another_process_runs() -> None:
    guest = ModelGuest(["munmap-keeps-tlb"])
    program = parse_program(
        """
        p0: fork p1
        p0: store bss[0] 0x11
        p0: unmap bss[0]
        p1: load bss[1]
        p0: load bss[0]
        """
    )

    trace = guest.execute(program, How())

    assert isinstance(trace.outcomes[-1], Faulted)


def test_a_wrong_wait_status_says_exit_for_death_by_signal() -> None:
    trace = run(CASES["wait-status-wrong"], "wait-status-wrong")

    assert trace.outcomes[-1] == Exited(11)
