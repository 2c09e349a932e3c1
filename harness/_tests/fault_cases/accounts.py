"""Programs on which the faults of `harness.model_guest.faults.accounts` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case

CASES = {
    "rss-forgets-unmap": Case("observations", "p0: store bss[0] 0x11\np0: unmap bss[0]"),
    "rss-counts-shared-as-anon": Case("observations", "p0: map a 1 rw shared anon\np0: load a[0]"),
    "size-charges-dontfork": Case("observations", "p0: map a 2 rw private anon\np0: advise a[0] dontfork\np0: fork p1"),
    "size-forgets-shrink": Case("observations", "p0: map a 2 rw private anon\np0: remap a[0..1] a[0]"),
    "exit-keeps-promise": Case("after", "p0: exit 0"),
    "wiped-not-promised": Case("after", "p0: map a 1 rw private anon\np0: advise a[0] wipeonfork\np0: fork p1\np1: exit 0"),
    "remap-promises-twice": Case("after", "p0: map a 1 rw private anon\np0: remap a[0] b[0]"),
    "rss-not-inherited-by-fork": Case("observations", "p0: store bss[0] 0x11\np0: fork p1"),
}
