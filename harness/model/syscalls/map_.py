"""map: mmap(2) of anonymous memory or of a file, private or shared, at a fixed place."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.vma import PLAIN, Vma, VmaFlag
from harness.program.files import FILES, STACK
from harness.program.ops import Map, Sharing
from harness.program.outcome import Done, Failed

_DONE = Allowed((Done(),), "mmap(2): MAP_FIXED replaces the pages that overlap the range")
_ENOMEM = Allowed((Failed("ENOMEM"),), "mmap(2), ENOMEM: the process's RLIMIT_AS limit would have been exceeded")
_SHARED_STACK = Allowed((Failed("EINVAL"),), "mmap(2), EINVAL; do_mmap: memory that grows is private and anonymous")


def map_(machine: Machine, op: Map) -> Allowed:
    """Replace whatever the range held by a new VMA, none of whose pages is present.

    A mapping of a file may begin and end behind the end of the file. Shared anonymous memory is a new file, as long as
    the mapping.

    What it replaces does not count against a limit, and stays where that refuses the rest (may_expand_vm and
    count_vma_pages_range come before the old mapping goes).

    Source: mmap(2), MAP_FIXED, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS; mmap_region, shmem_zero_setup.
    """
    process = machine.process(op.process)
    space = process.memory
    first, last = op.pages.vpn, op.pages.vpn + op.pages.npages

    # CHECKS
    if op.backing.name == STACK and op.sharing is Sharing.SHARED:
        return _SHARED_STACK
    replaced = sum(part.npages for part in space.vmas.parts(first, last))
    if not process.has_room(op.pages.npages - replaced):
        machine.reach["map.enomem"] += 1
        return _ENOMEM
    # else none: the range is aligned, inside a window, any protection may be asked for, and the files are open for writing.

    # EFFECT
    machine.reach["map.over" if space.vmas.any_in(first, last) else "map"] += 1
    free_unheld(machine, space.remove(first, last))
    flags = VmaFlag.GROWS_DOWN if op.backing.name == STACK else PLAIN
    shared = op.sharing is Sharing.SHARED
    space.add(Vma(first, last, op.prot, _file_of(machine, op), op.backing.pgoff, flags, shared))

    # OUTCOME
    return _DONE


def _file_of(machine: Machine, op: Map) -> str | None:
    """Name the file that `op` maps; None is private anonymous memory, which has none."""
    if op.backing.name in FILES:
        return machine.cache.file(op.backing.name).name
    return machine.cache.make_shared(op.pages.npages).name if op.sharing is Sharing.SHARED else None
