"""remap: mremap(2), which makes a mapping longer or shorter, or moves it with all that it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.vma import Vma, normalised
from harness.program.image import SEGMENT_OF
from harness.program.ops import Remap, Roam
from harness.program.outcome import Done, Failed, Outcome

_DONE = Allowed((Done(),), "mremap(2): on success it returns the new address")
_NOT_ALONE = Allowed((Failed("EFAULT"),), "remap_move: a segment of System V is not moved with other mappings")
_HOLE = Allowed((Failed("EFAULT"),), "mremap(2), EFAULT: the old range is not mapped, or by mappings of different types")
_OVERLAP = Allowed((Failed("EINVAL"),), "mremap(2), EINVAL: with MREMAP_FIXED the new range overlaps the old one")
_BLOCKED = Allowed((Failed("ENOMEM"),), "mremap(2), ENOMEM: the range cannot be expanded, and may not be moved")
_LIMITED = Allowed((Failed("ENOMEM"),), "mremap(2), ENOMEM; getrlimit(2), RLIMIT_AS: it affects mremap too")

_PRIVATE = Allowed((Failed("EINVAL"),), "mremap(2), EINVAL: old_size is zero, and does not refer to a shareable mapping")
_STAYS = Allowed(
    (Failed("ENOMEM"), Failed("EINVAL")),
    "mremap(2): where old_size is zero, the MREMAP_MAYMOVE flag must be specified; which error tells so is not said",
)

_ALIKE = "mremap(2), EFAULT, or not: whether neighbours that are alike are one mapping is the kernel's choice"


def remap(machine: Machine, op: Remap) -> Allowed:
    """Change the length of a mapping or of its tail end, in place; or move it over whatever the new range held.

    Pages keep bytes, protection, frames and file offsets; what is new reads as if never touched. Lengths are rounded up to
    pages; no length at all is a request for a second mapping.

    Of two calls (`Roam`) the first has to succeed before the second replaces anything.

    Source: mremap(2); vma_to_resize, mremap_to, move_vma.
    """
    process = machine.process(op.process)
    space = process.memory

    # CHECKS
    refused = _refused(machine, space, op)
    if refused is not None:
        return refused

    # EFFECT
    if not op.pages.length:
        allowed = _duplicate(machine, process, op)
    elif _takes_many(machine, op):
        allowed = _move_many(machine, space, op)
    elif not op.in_place:
        allowed = _move(machine, process, op)
    elif op.to.npages <= op.pages.npages:
        allowed = _shrink(machine, space, op)
    else:
        allowed = _grow(machine, process, op)

    # OUTCOME
    return allowed


def _refused(machine: Machine, space: AddressSpace, op: Remap) -> Allowed | None:
    """Give the error that is found before anything is done; the order of the two questions is the kernel's choice."""
    semantics = machine.semantics
    hole = semantics.remap_asks_for_mapping_first and space.vmas.find(op.pages.vpn) is None
    overlap = not op.in_place and _overlap(op)
    if overlap and (semantics.remap_asks_for_overlap_first or not hole):
        machine.reach["remap.einval"] += 1
        return _OVERLAP
    if hole:
        machine.reach["remap.efault"] += 1
        return _HOLE
    return None


def _overlap(op: Remap) -> bool:
    return op.pages.vpn < op.to.vpns.stop and op.to.vpn < op.pages.vpns.stop


def _shrink(machine: Machine, space: AddressSpace, op: Remap) -> Allowed:
    """Unmap the tail, in which holes and other mappings are no error to Linux.

    Source: mremap, `old_len >= new_len`: "Always allow a shrinking remap", before it asks for one VMA. mremap(2), EFAULT:
    "You can also get EFAULT even if there exist mappings that cover the whole address space requested".
    """

    def cut() -> None:
        free_unheld(machine, space.remove(op.to.vpns.stop, op.pages.vpns.stop))
        machine.reach["remap.shrink"] += 1

    return _if_one(machine, _may_cut(machine, space, op) or None, cut)


def _may_cut(machine: Machine, space: AddressSpace, op: Remap) -> bool:
    """Tell whether a tail is cut off for certain: where all is one mapping; else it may be an error, by the documents."""
    return not machine.semantics.errors_may_differ or bool(_is_one(space, op.pages.vpn, op.pages.vpns.stop))


def _grow(machine: Machine, process: Process, op: Remap) -> Allowed:
    """Let the mapping reach further, where it ends with the old range, and neither a mapping nor a limit is in the way."""
    space = process.memory
    first, last = op.pages.vpn, op.pages.vpns.stop
    certain = _is_one(space, first, last)
    if certain is False:
        machine.reach["remap.efault"] += 1
        return _HOLE
    if space.vmas.any_in(last, op.to.vpns.stop):
        return _no_room(machine, _BLOCKED, certain)
    if not process.has_room(op.to.npages - op.pages.npages):
        return _no_room(machine, _LIMITED, certain)
    return _if_one(machine, certain, lambda: _extend(machine, space, last, op.to.vpns.stop))


def _no_room(machine: Machine, refused: Allowed, certain: bool | None) -> Allowed:
    """Say that the range cannot grow, or, where it is not certain that it is one VMA, that it is not."""
    machine.reach["remap.enomem"] += 1
    return refused if certain else Allowed((*refused.outcomes, *_HOLE.outcomes), _ALIKE)


def _move(machine: Machine, process: Process, op: Remap) -> Allowed:
    """Move what fits, and let it grow at the new place.

    What the new range held and the tail that is cut off go first, in some kernels also where the move then fails; only
    there do they make room under a limit.
    Source: mremap_to, which calls do_munmap twice before vma_to_resize looks at the old range; check_prep_vma.
    """
    space = process.memory
    first, last = op.pages.vpn, op.pages.vpn + op.kept
    certain = _is_one(space, first, last)
    if certain and not _may_cut(machine, space, op):
        certain = None

    def clear() -> None:
        free_unheld(machine, space.remove(op.to.vpn, op.to.vpns.stop))
        free_unheld(machine, space.remove(last, op.pages.vpns.stop))
        if machine.semantics.moved_shrink_stays_promised and not isinstance(op, Roam):
            machine.promised_for_ever += op.pages.vpns.stop - last

    def move() -> None:
        if not clears_first:
            clear()
        space.move(first, last, op.to.vpn)
        machine.reach["remap.move"] += 1
        if op.kept < op.to.npages:
            _extend(machine, space, op.to.vpn + op.kept, op.to.vpns.stop)

    clears_first = _clears_first(machine, op)
    if clears_first:
        clear()
    if certain is False:
        machine.reach["remap.efault"] += 1
        return _HOLE
    more = op.to.npages - op.kept
    if more and not process.has_room(more):  # who is beyond his limit already may move what he has
        return _no_room(machine, _LIMITED, certain)
    return _if_one(machine, certain, move)


def _duplicate(machine: Machine, process: Process, op: Remap) -> Allowed:
    """Map the memory of a shared mapping, from its page at the old address on, a second time; the first mapping stays.

    Source: mremap(2), old_size zero; vma_to_resize, move_vma with an old length of 0.
    """
    space = process.memory

    def clear() -> None:
        free_unheld(machine, space.remove(op.to.vpn, op.to.vpns.stop))

    if op.in_place:
        return _HOLE if space.vmas.find(op.pages.vpn) is None else _STAYS
    if _clears_first(machine, op):
        clear()
    vma = space.vmas.find(op.pages.vpn)
    if vma is None:
        return _HOLE
    if not vma.shared and not machine.semantics.private_mappings_duplicate:
        machine.reach["remap.einval"] += 1
        return _PRIVATE
    if not process.has_room(op.to.npages):
        return _LIMITED
    if not _clears_first(machine, op):
        clear()
    pgoff = 0 if vma.file is None else vma.file_page(op.pages.vpn)
    space.add(replace(vma, start=op.to.vpn, end=op.to.vpns.stop, pgoff=pgoff))
    machine.reach["remap.duplicate"] += 1
    return _DONE


def _clears_first(machine: Machine, op: Remap) -> bool:
    """Tell whether what the new range held goes before the old range is looked at. Of two calls the first looks at it,
    unless it only cuts a tail off: then it asks for nothing more.
    """
    looks_first = isinstance(op, Roam) and (not op.pages.length or op.to.npages > op.pages.npages)
    return machine.semantics.remap_unmaps_before_it_looks and not looks_first


def _takes_many(machine: Machine, op: Remap) -> bool:
    """Tell whether this is a move that need not be of one mapping. Source: vrm_move_only."""
    is_move_only = op.to.npages == op.pages.npages or (isinstance(op, Roam) and op.to.npages < op.pages.npages)
    return machine.semantics.remap_moves_many and not op.in_place and is_move_only


def _move_many(machine: Machine, space: AddressSpace, op: Remap) -> Allowed:
    """Move each mapping of the range to its place in the new range, over what that held; holes move over nothing.

    A segment of System V goes alone or not at all: what comes before it in the range has moved when it is refused.

    Source: remap_move, which calls mremap_to for each VMA, and that do_munmap; vma_multi_allowed (a file with a
    get_unmapped_area of its own that is not known to be shmem's, as shm_file_operations).
    """
    first, end = op.pages.vpn, op.pages.vpn + op.kept
    free_unheld(machine, space.remove(end, op.pages.vpns.stop))  # cut off by an earlier call
    parts = space.vmas.parts(first, end)
    refused = [
        number
        for number, part in enumerate(parts)
        if part.file is not None and machine.cache.file(part.file).is_segment and (number or part.end < end)
    ]

    def move(some: list[Vma]) -> None:
        for part in some:
            to = op.to.vpn + part.start - first
            free_unheld(machine, space.remove(to, to + part.npages))
            space.move(part.start, part.end, to)
        machine.reach["remap.move"] += 1

    if refused and _is_one(space, first, end) is None:
        return _if_one(machine, None, lambda: move(parts))
    if refused:
        move(parts[: refused[0]])
        machine.reach["remap.efault"] += 1
        return _NOT_ALONE
    move(parts)
    return _DONE


def _extend(machine: Machine, space: AddressSpace, last: int, end: int) -> None:
    """Let the VMA that ends before page `last` end before page `end`."""
    vma = space.vmas.find(last - 1)
    assert vma is not None, "it was looked at"
    if vma.file in SEGMENT_OF and vma.file_page(end) > SEGMENT_OF[vma.file][1].file_pages:
        machine.end_of_knowledge("what follows a segment in the file of its image is the linker's choice")
    space.vmas.extend(vma, end=end)
    machine.reach["remap.grow"] += 1


def _is_one(space: AddressSpace, first: int, last: int) -> bool | None:
    """Tell whether the pages [first, last) are one VMA; None where that depends on how the kernel merges."""
    if space.vmas.find(first) is None:
        return False
    parts = space.vmas.parts(first, last)
    if parts[0].npages == last - first:
        return True
    alike = len(normalised(parts)) == 1 and space.vmas.first_hole(first, last) == last
    return None if alike else False


def _if_one(machine: Machine, certain: bool | None, effect: Callable[[], None]) -> Allowed:
    """Do `effect` now where it is certain that the range is one VMA, else once the guest has said that it was."""
    if certain:
        effect()
        return _DONE

    def adopt(outcome: Outcome) -> None:
        if outcome == Done():
            effect()
        else:
            machine.reach["remap.efault"] += 1

    return Allowed((*_DONE.outcomes, *_HOLE.outcomes), _ALIKE, adopt)
