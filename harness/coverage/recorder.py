"""Follows a program on the model, and notes the situations that it reaches."""

from __future__ import annotations

from collections import Counter

from harness.coverage.situation import Action, Memory, Role, Situation, State
from harness.model.address_space import AddressSpace
from harness.model.counts import entry_counts
from harness.model.frame import Frame, FrameKind
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.model.vma import Vma, VmaFlag
from harness.program.files import FILES
from harness.program.image import SEGMENT_OF
from harness.program.ops import FORKS, Op, Remap, whose
from harness.program.program import places
from harness.program.units import HEAP, PageRange, Prot, in_windows

ACTIONS = {
    "store": Action.STORE, "fill": Action.STORE,
    "load": Action.LOAD, "print": Action.LOAD, "write": Action.LOAD, "pin": Action.LOAD,
    "receive": Action.KERNEL_WRITE, "ask": Action.KERNEL_WRITE, "reap": Action.KERNEL_WRITE, "read": Action.KERNEL_WRITE,
    "readv": Action.KERNEL_WRITE,
    "force": Action.KERNEL_WRITE, "poke": Action.KERNEL_WRITE, "fix": Action.KERNEL_WRITE,
    "fork": Action.FORK, "vfork": Action.FORK, "clone": Action.FORK,
    "exec": Action.EXEC, "exit": Action.EXIT, "crash": Action.EXIT, "handle": Action.EXIT, "kill": Action.EXIT,
    "unmap": Action.MUNMAP, "map": Action.MUNMAP, "mirror": Action.MUNMAP, "brk": Action.MUNMAP,
    "protect": Action.MPROTECT, "remap": Action.MREMAP, "roam": Action.MREMAP, "advise": Action.MADVISE,
}  # fmt: skip
"""What the operations do to pages, by verb: `map` replaces what was there. Others have no column in the table."""

_WHOLE = frozenset({Action.FORK, Action.EXEC, Action.EXIT})
"""The actions that meet every page of the process."""


class Recorder:
    """Collects the situations of one program. `before` is to be called before each step that the model does."""

    def __init__(self) -> None:
        self.situations: set[Situation] = set()
        self._generation = {0: 0}
        self._was_shared: set[Frame] = set()
        self._moved: set[Frame] = set()

    def before(self, machine: Machine, op: Op) -> None:
        """Note what `op` is about to meet."""
        action = ACTIONS.get(op.verb)
        actor = whose(op)
        process = machine.processes.get(actor)
        if action is None or process is None or process.space is None:
            return
        role = (Role.PARENT, Role.CHILD, Role.GRANDCHILD)[min(self._generation.get(actor, 0), 2)]
        space = process.space
        parts = list(space.vmas) if action in _WHOLE else _parts(space, op)
        pages = [(part, [space.page_table.lookup(vpn) for vpn in in_windows(part.start, part.end)]) for part in parts]
        touched = [pte.frame for _, ptes in pages for pte in ptes if pte is not None]
        self._note(pages, entry_counts(machine) if touched else Counter(), action, role)
        if isinstance(op, FORKS):
            self._generation[op.child] = self._generation.get(op.process, 0) + 1
            self._was_shared.update(pte.frame for pte in space.page_table.ptes())
        if isinstance(op, Remap) and not op.in_place:
            self._moved.update(touched)

    def _note(self, pages: list[tuple[Vma, list[PTE | None]]], sharers: Counter[Frame], action: Action, role: Role) -> None:
        """Note the entries of pages of these VMAs, or parts of them; `sharers` tells how many entries each frame has."""
        before = None
        for part, ptes in pages:
            kind = kind_of(part)
            for pte in ptes:
                met = memory_of(pte, kind), self._state(part, pte, sharers[pte.frame] if pte else 0)
                if met != before:  # most pages are as the one before them
                    self.situations.add(Situation(*met, action, role))
                before = met

    def _state(self, vma: Vma, pte: PTE | None, sharers: int) -> State:
        if pte is None:
            return State.FRESH
        if not vma.prot or (pte.frame.kind is FrameKind.ANON and not vma.prot & Prot.W):
            return State.PROTECTED
        if pte.frame in self._moved:
            return State.MOVED
        if sharers > 1:
            return State.SHARED_2 if sharers == 2 else State.SHARED_3
        return State.FORMERLY_SHARED if pte.frame in self._was_shared else State.RESIDENT


def memory_of(pte: PTE | None, kind: Memory) -> Memory:
    """Tell what kind of memory a page with this entry is, in a mapping of this kind."""
    is_zero = pte is not None and pte.frame.kind in (FrameKind.ZERO, FrameKind.UNDETERMINED)
    return Memory.ZERO if is_zero else kind


def kind_of(vma: Vma) -> Memory:
    """Tell what kind of memory the pages of `vma` are that somebody has written to."""
    if vma.flags & VmaFlag.GROWS_DOWN:
        return Memory.STACK
    if vma.file in SEGMENT_OF:
        return Memory.DATA if vma.file.endswith("data") else Memory.TEXT
    if vma.start in range(HEAP.vpn, HEAP.vpn + HEAP.npages):
        return Memory.BRK
    if vma.file in FILES:
        return Memory.MEMFD if FILES[vma.file].is_memfd else Memory.SHARED_FILE if vma.shared else Memory.PRIVATE_FILE
    if vma.shared:
        return Memory.SHARED_ANON
    return Memory.ANON


def _parts(space: AddressSpace, op: Op) -> list[Vma]:
    """List the parts of VMAs that lie in the operands of `op`."""
    spans = [each.vpns if isinstance(each, PageRange) else range(each.vpn, each.vpn + 1) for each in places(op)]
    return [part for span in spans for part in space.vmas.parts(span.start, span.stop)]
