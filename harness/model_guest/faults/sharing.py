"""What goes wrong where memory is shared: fork, vfork, clone and the copy on write after them."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

SHARING = (
    Fault(
        "shm-fork-forgets-attach",
        "a child does not count among those who have attached a segment of System V",
        ("shm.lives-while-attached", "fork.shared-stays-shared"),
    ),
    Fault(
        "shm-exit-keeps-segment",
        "a segment of System V that was removed stays when the last who has it exits",
        ("shm.lives-while-attached", "conserve.frames"),
    ),
    Fault(
        "shm-detach-of-part-ends-segment",
        "munmap of a part of a segment of System V takes the pages of all of it out of the segment",
        ("shm.lives-while-attached", "fork.shared-stays-shared"),
    ),
    Fault(
        "ghost-fork",
        "fork shares the parent's address space",
        ("fork.child-store-private", "fork.parent-store-private", "count.mapcount"),
    ),
    Fault(
        "failed-fork-leaks",
        "a fork that runs out of memory keeps what it took",
        ("fork.failed-is-no-op", "count.equals-references", "conserve.frames", "cow.sole-owner-reuses"),
    ),
    Fault(
        "refused-fork-leaks",
        "a fork that is refused as one too many keeps what it took",
        ("fork.failed-is-no-op", "count.equals-references", "conserve.frames"),
    ),
    Fault(
        "vfork-does-not-suspend",
        "the parent of a vfork runs on beside its child",
        ("vfork.shares-and-suspends",),
    ),
    Fault(
        "vfork-copies",
        "the child of a vfork works in a copy of its parent's memory",
        ("vfork.shares-and-suspends",),
    ),
    Fault(
        "clone-vm-copies",
        "a CLONE_VM child works in a copy of its parent's memory",
        ("clone-vm.shares",),
    ),
    Fault(
        "fork-keeps-writable",
        "fork forgets to clear the writable bit in the parent",
        ("fork.parent-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "fork-keeps-writable-child",
        "fork forgets to clear the writable bit in the child",
        ("fork.child-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "fork-keeps-tlb",
        "no flush in the parent after fork has taken its right to write",
        ("tlb.no-stale", "fork.parent-store-private"),
    ),
    Fault(
        "fork-forgets-ref",
        "fork does not count the child's page-table entry",
        ("count.equals-references", "count.mapcount", "fork.child-store-private", "alloc.never-twice"),
    ),
    Fault(
        "fork-skips-prot-none",
        "fork copies an inaccessible page-table entry without counting it",
        ("count.equals-references", "count.mapcount", "mprotect.never-breaks-isolation"),
    ),
    Fault(
        "cow-shares",
        "break CoW restores the writable bit though the frame is shared",
        ("fork.child-store-private", "fork.parent-store-private", "cow.no-writable-shared"),
    ),
    Fault(
        "cow-copies-part",
        "break CoW copies the first half of the page",
        ("cow.break-copies-all",),
    ),
    Fault(
        "cow-copies-part-tail",
        "break CoW copies all but the last 64 bytes of the page",
        ("cow.break-copies-all",),
    ),
    Fault(
        "cow-keeps-old-ref",
        "the old frame keeps its reference after a copy",
        (
            "cow.old-frame-released",
            "count.equals-references",
            "cow.sole-owner-reuses",
            "conserve.frames",
        ),
    ),
    Fault(
        "sole-owner-stays-readonly",
        "a store to a frame with count 1 leaves it read-only",
        ("live.bounded", "cow.sole-owner-reuses"),
    ),
    Fault(
        "sole-owner-always-copies",
        "a store to a CoW frame with count 1 copies it",
        ("cow.sole-owner-reuses",),
    ),
    Fault(
        "two-faults-per-write",
        "the first fault maps the copy read-only again",
        ("cow.one-fault-per-first-write",),
    ),
    Fault(
        "refork-readonly",
        "a page that is CoW already becomes plain read-only at the next fork",
        ("fork.generations", "fault.signal"),
    ),
    Fault(
        "dontfork-ignored",
        "a child gets memory that was advised not to be forked",
        ("fork.dontfork",),
    ),
    Fault(
        "wipeonfork-ignored",
        "a child gets the bytes of memory that was advised to be wiped",
        ("fork.wipeonfork",),
    ),
    Fault(
        "count-u16",
        "the counter has two bytes, and wraps at 65,536",
        ("count.many-sharers",),
    ),
    Fault(
        "count-u8",
        "the counter is one byte, and wraps at 256",
        ("count.many-sharers", "count.equals-references", "alloc.never-twice"),
    ),
    Fault(
        "shared-becomes-private",
        "shared memory is CoW after fork",
        ("fork.shared-stays-shared",),
    ),
    Fault(
        "shared-untouched-not-shared",
        "shared memory that was not touched before fork is two frames",
        ("fork.shared-stays-shared",),
    ),
    Fault(
        "fork-copies-at-once",
        "fork copies each page that the parent may write, instead of sharing it",
        ("fork.shares-frames",),
    ),
    Fault(
        "fork-drops-prot-none",
        "a child does not get the mappings that nobody may touch",
        ("fork.inherits-vmas",),
    ),
    Fault(
        "fork-forgets-mapcount",
        "fork counts the reference of a child's page-table entry, and not the mapping",
        ("count.mapcount",),
    ),
    Fault(
        "load-takes-frame",
        "a load of fresh memory gets a frame of its own, as a store would",
        ("zero.page-stays-zero",),
    ),
    Fault(
        "zero-page-is-written",
        "a store to the zero page does not copy it",
        ("zero.page-stays-zero",),
    ),
)
