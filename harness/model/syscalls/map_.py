"""map: mmap(2) of anonymous memory or of a file, private or shared, at a place that is given."""

from __future__ import annotations

from harness.model.address_space import AddressSpace
from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.fault import may_have_own_frame
from harness.model.machine import Machine
from harness.model.populate import populate
from harness.model.semantics import Choice
from harness.model.vma import PLAIN, Vma, VmaFlag
from harness.program.files import FILES, SHM, STACK
from harness.program.ops import Map, Opened, Placement, Populate, Sharing
from harness.program.outcome import Done, Failed, Outcome
from harness.program.units import Prot

_DONE = Allowed((Done(),), "mmap(2): MAP_FIXED replaces the pages that overlap the range")
_ENOMEM = Allowed((Failed("ENOMEM"),), "mmap(2), ENOMEM: the process's RLIMIT_AS limit would have been exceeded")
_EACCES = Allowed(
    (Failed("EACCES"),),
    "mmap(2), EACCES: a file mapping was requested, but fd is not open for reading; or MAP_SHARED was requested and "
    "PROT_WRITE is set, but fd is not open in read/write mode",
)
_SHARED_STACK = Allowed((Failed("EINVAL"),), "mmap(2), EINVAL; do_mmap: memory that grows is private and anonymous")
_EEXIST = Allowed((Failed("EEXIST"),), "mmap(2), EEXIST: MAP_FIXED_NOREPLACE, and the range clashes with a mapping")
_ELSEWHERE = Allowed((Failed("EEXIST"),), "mmap(2): if another mapping exists at the hint, the kernel picks another place")
_HINT = "mmap(2): the kernel takes the address as a hint about where to place the mapping"


def map_(machine: Machine, op: Map) -> Allowed:
    """Map a new VMA, none of whose pages is present until it is populated, in the place of whatever the range held, if it
    may be replaced.

    A mapping of a file may begin and end behind the end of the file. Shared anonymous memory is a new file, as long as
    the mapping. A length that is no whole number of pages is rounded up.

    What it replaces does not count against a limit, and stays where that refuses the rest (may_expand_vm and
    count_vma_pages_range come before the old mapping goes).

    Source: mmap(2), MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS; do_mmap, mmap_region,
    shmem_zero_setup.
    """
    process = machine.process(op.process)
    space = process.memory
    first, last = op.pages.vpn, op.pages.vpns.stop

    def replace(outcome: Outcome = _DONE.outcomes[0]) -> None:
        if outcome != _DONE.outcomes[0]:
            machine.reach["map.elsewhere"] += 1
            return
        machine.reach["map.over" if space.vmas.any_in(first, last) else "map"] += 1
        free_unheld(machine, space.remove(first, last))
        shared = op.sharing is Sharing.SHARED
        vma = Vma(first, last, op.prot, _file_of(machine, op), op.backing.pgoff, _flags_of(op), shared)
        space.add(vma)
        if vma.file is not None and may_have_own_frame(machine.semantics, vma):
            machine.may_be_copied.add(vma.file)
        if op.populate is Populate.YES and not machine.semantics.populate_may_do_nothing:
            machine.reach["map.populate"] += 1
            populate(machine, process, vma)

    # CHECKS
    refused = _refusal(machine, op)
    if refused is not None:
        machine.reach["map.refused"] += 1
        if refused is _ENOMEM and op.placement is Placement.FIXED and machine.semantics.refused_map_cuts:
            space.vmas.cut(first, last)
        return refused
    # else none: the range is aligned and inside a window, and of private memory any protection may be asked for.

    # EFFECT
    unsure = op.placement is Placement.HINT and _may_be_elsewhere(machine, space, last)
    if not unsure:
        replace()

    # OUTCOME
    return Allowed((*_DONE.outcomes, *_ELSEWHERE.outcomes), _HINT, replace) if unsure else _DONE


def _refusal(machine: Machine, op: Map) -> Allowed | None:
    """Give the error that the call fails with: where there are reasons for several, any of them."""
    process = machine.process(op.process)
    there = sum(part.npages for part in process.memory.vmas.parts(op.pages.vpn, op.pages.vpns.stop))
    replaced = there if op.placement is Placement.FIXED else 0
    refusals: list[Allowed] = [
        *((_EEXIST,) if op.placement is Placement.NOREPLACE and there else ()),
        *((_EACCES,) if _asks_too_much(op) else ()),
        *((_SHARED_STACK,) if op.backing.name == STACK and op.sharing is Sharing.SHARED else ()),
        *((_ENOMEM,) if not process.has_room(len(op.pages.vpns) - replaced) else ()),
    ]
    if not refusals:
        return _ELSEWHERE if op.placement is Placement.HINT and there else None
    if len(refusals) == 1:
        return refusals[0]
    return Allowed(tuple(each.outcomes[0] for each in refusals), "; or ".join(each.clause for each in refusals))


def _may_be_elsewhere(machine: Machine, space: AddressSpace, last: int) -> bool:
    """Tell whether the kernel may choose another place than the free range before page `last` at which an address hints.

    Source: arch_get_unmapped_area_topdown, which takes it unless the next VMA begins there (vm_start_gap).
    """
    above = next((vma for vma in space.vmas if vma.start >= last), None)
    gap = machine.semantics.stack_guard_gap
    is_near_stack = above is not None and above.flags & VmaFlag.GROWS_DOWN and above.start - last < gap
    return bool(is_near_stack) or machine.semantics.hint_is_taken is not Choice.ALWAYS


def _asks_too_much(op: Map) -> bool:
    """Tell whether the descriptor does not allow the mapping: a private one, too, reads the file, and never writes to it.

    Source: do_mmap, the cases of MAP_SHARED and MAP_PRIVATE.
    """
    opened = op.backing.opened
    may_write = opened is not Opened.READ or op.sharing is Sharing.PRIVATE
    return opened is Opened.WRITE or (Prot.W in op.prot and not may_write)


def _flags_of(op: Map) -> VmaFlag:
    if op.backing.name == STACK:
        return VmaFlag.GROWS_DOWN
    is_for_reading = op.sharing is Sharing.SHARED and op.backing.opened is Opened.READ
    return VmaFlag.NEVER_WRITABLE if is_for_reading else PLAIN


def _file_of(machine: Machine, op: Map) -> str | None:
    """Name the file that `op` maps; None is private anonymous memory, which has none. A segment of System V is one, too."""
    if op.backing.name in FILES:
        return machine.cache.file(op.backing.name).name
    if op.sharing is Sharing.PRIVATE:
        return None
    return machine.cache.make_shared(len(op.pages.vpns), is_segment=op.backing.name == SHM).name
