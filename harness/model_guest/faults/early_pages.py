"""What goes wrong with pages that come before anybody has touched them: the toy kernel prefaults with any of these."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

EARLY_PAGES = (
    Fault(
        "prefault-keeps-bytes",
        "a page that is brought in early keeps the bytes that its frame had",
        ("prefault.transparent", "zero.fresh-memory", "batch.distinct-zeroed"),
    ),
    Fault(
        "prefault-counts-twice",
        "a page that is brought in early is counted twice",
        ("prefault.transparent", "count.equals-references", "conserve.frames"),
    ),
    Fault(
        "prefault-of-wrong-page",
        "what is brought in early of a file is the page behind the right one",
        ("prefault.transparent", "file.private-offset", "exec.image-intact"),
    ),
    Fault(
        "prefault-stores",
        "a private page of a file is brought in early by a store to it",
        ("prefault.transparent", "exec.image-intact"),
    ),
)
