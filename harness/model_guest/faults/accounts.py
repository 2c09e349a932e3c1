"""What goes wrong with what the kernel counts for a process."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

ACCOUNTS = (
    Fault(
        "rss-forgets-unmap",
        "what is unmapped stays in the resident set as the kernel counts it",
        ("account.rss",),
    ),
    Fault(
        "rss-counts-shared-as-anon",
        "resident pages of shared memory are counted as anonymous ones",
        ("account.rss",),
    ),
    Fault(
        "rss-not-inherited-by-fork",
        "the resident set of a child is counted from zero on",
        ("account.rss",),
    ),
)
