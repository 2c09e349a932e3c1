"""Which contracts a wrong byte breaks: whose store it shows, or whose it lacks."""

from __future__ import annotations

from harness.compare.blame.departures import by_advice, by_loss, early_free, many_held, may_have_gone
from harness.compare.blame.ids import Ids, unique
from harness.compare.timeline import Timeline
from harness.model.vma import VmaFlag
from harness.program.files import FILES
from harness.program.image import SEGMENT_OF
from harness.program.ops import (
    KERNEL_STORES,
    Advice,
    Advise,
    Brk,
    Exec,
    Force,
    Handle,
    Map,
    Op,
    Poke,
    Protect,
    Read,
    Readv,
    Remap,
)
from harness.program.program import places
from harness.program.units import PAGE_SIZE, Address, PageRange, address_of


def _file_or_shared(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Blame a byte of shared memory or of one of the program's files: it is not one process's alone to begin with."""
    vma = timeline.vma(process, vpn)
    if vma is None or (not vma.shared and vma.file not in FILES):
        return ()
    cut = by_loss(timeline, vma)
    if vma.file not in FILES:
        return unique(cut, ("fork.shared-stays-shared", "store.load"))
    early: Ids = ("prefault.transparent",) if timeline.may_be_early(process, vpn) else ()
    if vma.shared:
        return unique(("file.shared-coherent",), cut, ("fork.shared-stays-shared", "store.load"), early)
    ids: Ids = ("file.private-offset", "cache.private-write-stays-out", "fork.file-private")
    return unique(ids, cut, ("store.load",), early)


def wrong_byte(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """Blame a byte that is not what it should be; `value` is what was seen at `offset`."""
    fed: Ids = ("pipe.keeps-pages",) if timeline.fed(value) else ()
    of_file = _file_or_shared(timeline, process, vpn)
    gone = may_have_gone(timeline.advice_to_page(process, vpn))
    vma = timeline.vma(process, vpn)
    if of_file and vma is not None and vma.shared:  # nobody's store is foreign there, and nothing is copied
        return unique(fed, of_file, gone)
    delivered: Ids = ("cow.fixed-buffer-stays",) if offset is not None and timeline.delivers(offset) else ()
    reads = [op for _, op in timeline.steps() if isinstance(op, Read | Readv) and op.process == process]
    if any(
        (isinstance(place, PageRange) and vpn in place.vpns) or (isinstance(place, Address) and vpn == place.vpn)
        for op in reads
        for place in places(op)
    ):
        return unique(delivered, ("file.shared-coherent",), _of_ranges(timeline, process), ("store.load",))
    foreign = _foreign_store(timeline, process, vpn, offset=offset, value=value)
    if foreign:  # somebody else's store explains the byte, so nothing else needs to
        many = many_held(timeline, process, vpn)
        return unique(delivered, foreign, of_file, _file_byte(timeline, process, vpn), many, ("store.load",))
    never_stored = unique(_file_byte(timeline, process, vpn), _fresh_byte(timeline, process, vpn, offset))
    explained = unique(
        delivered,
        fed,
        of_file,
        _kernel_byte(timeline, process, vpn, offset),
        _tail_byte(timeline, process, vpn, offset),
        never_stored,
        ("prefault.transparent",) if never_stored and timeline.may_be_early(process, vpn) else (),
        ("cow.break-copies-all",) if timeline.broke_cow((process, vpn)) else (),
        _stale_byte(timeline, process, vpn),
        unwiped(timeline, process, vpn),
        _outdated_byte(timeline, process, vpn, offset=offset, value=value),
    )
    return unique(explained or early_free(timeline, process, vpn), gone, ("alloc.never-twice", "store.load"))


def _of_ranges(timeline: Timeline, process: int) -> Ids:
    """A read into two ranges may have gone on behind the one where it should have stopped."""
    many = any(isinstance(op, Readv) and op.process == process for _, op in timeline.steps())
    return ("kernel-write.exact-bytes",) if many else ()


def _foreign_store(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """Find a store by another process that would explain the byte."""
    mine = {stored.step for stored in timeline.inherited(process, vpn)}
    suspects = [
        stored for stored in timeline.stores(process, vpn) if stored.step not in mine and stored.explains(offset, value)
    ]
    if not suspects:
        return ()
    culprit = suspects[-1]
    change = timeline.last_change(culprit.process, culprit.vpn)
    return unique(
        _BY_THE_KERNEL.get(type(culprit.op), ()),
        isolation(timeline, writer=culprit.process, victim=process),
        ("mprotect.never-breaks-isolation",) if change and isinstance(change[1], Protect) else (),
        ("mremap.preserves",) if change and isinstance(change[1], Remap) else (),
        ("tlb.no-stale",) if timeline.follows_fork(culprit) else (),
    )


_BY_THE_KERNEL: dict[type[Op], Ids] = {
    **dict.fromkeys(KERNEL_STORES, ("kernel-write.breaks-cow",)),
    Force: ("foll-force.private-only",),
    Poke: ("remote.right-memory", "foll-force.private-only"),
    Handle: ("kernel-write.breaks-cow",),
}
"""What else a store breaks that the kernel did, where it shows in somebody else's memory."""


def _kernel_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    """A store by the kernel for this process may have gone too far, or where it was refused."""
    ids: Ids = ()
    if timeline.was_refused(process, vpn):
        ids = ("kernel-write.respects-protection",)
    near = [stored for stored in timeline.inherited(process, vpn) if isinstance(stored.op, KERNEL_STORES)]
    if offset is not None and any(
        0 <= offset - stored.end < _NEAR or 0 < stored.offset - offset <= _NEAR for stored in near
    ):
        ids = (*ids, "kernel-write.exact-bytes")
    return ids


_NEAR = 8
"""How many bytes a copy that works in words may go too far."""


def isolation(timeline: Timeline, *, writer: int, victim: int) -> Ids:
    """Name the isolation that a store of `writer` broke by showing up in `victim`."""
    if writer == victim:
        return ()
    downwards = writer in timeline.ancestors(victim)
    far = timeline.distance(writer, victim) >= 2
    ids: Ids = ("fork.parent-store-private",) if downwards else ("fork.child-store-private",)
    return (*ids, *(("fork.generations",) if far else ()), "cow.no-writable-shared")


def _file_byte(timeline: Timeline, process: int, vpn: int) -> Ids:
    vma = timeline.vma(process, vpn)
    if vma is None or vma.file not in SEGMENT_OF:
        return ()
    since = timeline.last_exec(process)
    if any(stored.step > since for stored in timeline.inherited(process, vpn)):
        return ()
    ids: Ids = ("exec.image-intact", "file.private-offset", "cache.outlives-mappers")
    if timeline.stores(process, vpn):
        return ("cache.private-write-stays-out", "fork.file-private", *ids)
    change = timeline.last_change(process, vpn)
    return ids if change is None or isinstance(change[1], Exec) else unique(("file.private-offset",), ids)


def _tail_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    """A byte that exec has to zero, in a page of which the file has the rest, is zero in memory and not in the file."""
    if offset is None or offset < bytes_of_file(timeline, process, vpn):
        return ()
    change = timeline.last_change(process, vpn)
    return ("cache.private-write-stays-out",) if change and not isinstance(change[1], Exec) else ("exec.image-intact",)


def bytes_of_file(timeline: Timeline, process: int, vpn: int) -> int:
    """Give how many bytes of page `vpn` are of the file, where exec has to zero the rest; else the whole page."""
    image = timeline.image(process)
    tails = {segment.vpn + segment.file_pages - 1: segment.tail for segment in image.segments if segment.tail}
    return tails.get(vpn, PAGE_SIZE)


def _fresh_byte(timeline: Timeline, process: int, vpn: int, offset: int | None) -> Ids:
    vma = timeline.vma(process, vpn)
    of_image = vma is not None and vma.file in SEGMENT_OF and (offset or 0) < bytes_of_file(timeline, process, vpn)
    if address_of(vpn) is None or of_image or (vma is not None and vma.file in FILES):
        return ()
    change = timeline.last_change(process, vpn)
    since = change[0] if change and _is_fresh(vpn, change[1]) else -1
    if any(stored.step > since and stored.explains(offset, None) for stored in timeline.inherited(process, vpn)):
        return ()
    return ("zero.fresh-memory", "zero.page-stays-zero", "batch.distinct-zeroed")


def _is_fresh(vpn: int, op: Op) -> bool:
    """Tell whether page `vpn` was as good as new after `op`."""
    if isinstance(op, Remap):
        return vpn - op.to.vpn >= op.kept
    if isinstance(op, Advise):
        return op.advice in (Advice.DONTNEED, Advice.WIPEONFORK)
    return isinstance(op, Map | Exec | Brk)


def _stale_byte(timeline: Timeline, process: int, vpn: int) -> Ids:
    """After an exec, or a map over old memory, what was there before must not show."""
    change = timeline.last_change(process, vpn)
    if change is None:
        return ()
    if isinstance(change[1], Exec):
        return ("exec.drops-all",)
    if isinstance(change[1], Remap):
        return ("mremap.preserves", "tlb.no-stale")
    if isinstance(change[1], Advise):
        return unique(by_advice(change[1]), ("tlb.no-stale",))
    if isinstance(change[1], Brk):
        return ("brk.exact",)
    if isinstance(change[1], Map) and any(s.step < change[0] for s in timeline.stores(process, vpn)):
        return ("mmap.fixed-replaces", "tlb.no-stale")
    return ()


def unwiped(timeline: Timeline, process: int, vpn: int) -> Ids:
    """Memory that children find wiped may have come to one as it was, whatever else was done to the mapping before."""
    vma = timeline.vma(process, vpn)
    wiped = vma is not None and bool(vma.flags & VmaFlag.WIPED_ON_FORK) and process in timeline.parent
    return ("fork.wipeonfork",) if wiped else ()


def _outdated_byte(timeline: Timeline, process: int, vpn: int, *, offset: int | None, value: int | None) -> Ids:
    """A byte that was there before the last store is one that the CPU, or the kernel, still finds in the old frame."""
    if offset is None or value is None:
        return ()
    here = [stored for stored in timeline.inherited(process, vpn) if stored.explains(offset, None)]
    if not any(stored.explains(offset, value) for stored in here[:-1]):
        return ()
    by_kernel: Ids = ("kernel-write.breaks-cow",) if isinstance(here[-1].op, KERNEL_STORES) else ()
    return (*by_kernel, "tlb.no-stale")
