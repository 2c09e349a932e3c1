"""What goes wrong with swap: the toy kernel has some with any of these."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

SWAP = (
    Fault("swap-writes-half", "half of a page that goes to swap is written there", ("swap.transparent",)),
    Fault(
        "swap-writes-once",
        "a page that goes to swap for the second time is not written, and comes back as it was the first time",
        ("swap.transparent",),
    ),
    Fault(
        "swap-fork-forgets-slot",
        "fork does not count the child's hold of a page that is in swap",
        ("swap.transparent", "fork.child-store-private"),
    ),
    Fault("swap-in-frees-slot", "who brings a page back frees its slot for all who have it there", ("swap.transparent",)),
    Fault(
        "swap-in-takes-shared",
        "a store to a page in swap takes it for the writer's own, whoever else has it there",
        ("swap.transparent", "fork.parent-store-private"),
    ),
    Fault(
        "swap-in-copies-each",
        "of a page in swap that several have each gets a copy",
        (
            "swap.transparent",
            "fork.shares-frames",
        ),
    ),
    Fault(
        "swap-in-keeps-slot",
        "the slot of a page that came back keeps the count of it",
        ("account.swap", "cow.sole-owner-reuses"),
    ),
    Fault("swap-exit-leaks-slots", "teardown leaves what is in swap there", ("account.swap",)),
    Fault("swap-unmap-leaks-slots", "munmap leaves what is in swap there", ("account.swap",)),
    Fault(
        "swap-dontneed-keeps",
        "MADV_DONTNEED leaves what is in swap for the next touch to find",
        ("swap.transparent", "madvise.dontneed"),
    ),
    Fault(
        "swap-remap-forgets",
        "mremap moves what is present, and leaves what is in swap",
        ("swap.transparent", "mremap.preserves"),
    ),
    Fault(
        "swap-keeps-protection",
        "a page that comes back from swap has the protection with which it went",
        ("swap.transparent", "mprotect.last-one-counts"),
    ),
    Fault(
        "swap-in-comes-clean",
        "a page that comes back from swap counts as one that nobody stored to, and goes where another advised it free",
        ("swap.transparent", "madvise.pageout"),
    ),
    Fault(
        "swap-takes-fixed-buffer",
        "a page goes to swap though the kernel has it as a buffer, and what is delivered there is lost",
        ("swap.transparent", "cow.fixed-buffer-stays"),
    ),
)
