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
    Fault(
        "size-charges-dontfork",
        "a child is charged for memory of its parent that MADV_DONTFORK keeps from it",
        ("account.size",),
    ),
    Fault(
        "size-forgets-shrink",
        "what mremap cuts off stays in the size of the address space as the kernel counts it",
        ("account.size",),
    ),
    Fault(
        "exit-keeps-promise",
        "what is set apart for the mappings of a process is not given back when it ends",
        ("account.promised",),
    ),
    Fault(
        "wiped-not-promised",
        "nothing is set apart for what is wiped in a child, and it is given back when the child ends",
        ("account.promised",),
    ),
    Fault(
        "remap-promises-twice",
        "what is set apart for a mapping is set apart once more when that is moved",
        ("account.promised",),
    ),
)
