"""Who holds a frame: found by walking every page table and the page cache, every time.

*mapcount* is the number of leaf entries that map a frame, *references* that number, the page cache's hold on it,
and its pins (`Machine.pins`). Entries of a page in swap hold it too, and no kernel counts them with the frame: slots of
swap have counts of their own. No number is kept anywhere, so none can go wrong: what a kernel counts is held against this.

The zero page is the exception that kernels make too: Linux counts neither its mappings (kpagecount is 0)
nor references to it. Here they are as they are; who compares leaves frames of kind ZERO out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.model.frame import Frame, FrameKind
from harness.model.machine import Machine


@dataclass(slots=True)
class Holders:
    """The holders of one frame: leaf entries as (process number, virtual page number), the file page (file, page index)
    for which the page cache holds it, how often it is pinned, and what a fixed buffer in it counts for.
    """

    ptes: list[tuple[int, int]] = field(default_factory=list)
    cached: tuple[str, int] | None = None
    pins: int = 0
    fixed: int = 0
    idle: int = 0
    """The leaf entries of idle children."""
    swapped: int = 0
    """The entries of all processes that hold the page in swap."""

    @property
    def mapcount(self) -> int:
        """The number of leaf entries."""
        return len(self.ptes) + self.idle

    @property
    def in_cache(self) -> bool:
        """Tell whether the page cache is one of the holders."""
        return self.cached is not None

    @property
    def references(self) -> int:
        """The number of all holders that a kernel counts with the frame."""
        return self.mapcount + self.in_cache + self.pins + self.fixed

    @property
    def held(self) -> int:
        """The number of all holders, in memory or in swap."""
        return self.references + self.swapped


def reference_index(machine: Machine) -> dict[Frame, Holders]:
    """Find all holders of all frames but table pages, each of which has one (see `invariants`)."""
    index: dict[Frame, Holders] = {}
    for process, space in machine.spaces():
        for vpn, pte in space.page_table.walk():
            holders = index.get(pte.frame)
            if holders is None:
                holders = index[pte.frame] = Holders()
            if pte.swapped:
                holders.swapped += space.idle or 1
            elif space.idle:
                holders.idle += space.idle
            else:
                holders.ptes.append((process.number, vpn))
    for key, frame in machine.cache.frames.items():
        index.setdefault(frame, Holders()).cached = key
    for pin in machine.pins:
        index.setdefault(pin.frame, Holders()).pins += 1
    if machine.fixed is not None:
        index.setdefault(machine.fixed.frame, Holders()).fixed = fixed(machine, machine.fixed.frame)
    return index


def entries(machine: Machine, frame: Frame) -> int:
    """Count the leaf entries, of all processes, that map `frame`, or hold it in swap."""
    return sum(
        space.idle or 1
        for _, space in machine.spaces()
        for _, leaf in space.page_table.leaves()
        for pte in leaf.entries.values()
        if pte.frame is frame
    )


def entry_counts(machine: Machine) -> Counter[Frame]:
    """Count the same of all frames, in one walk."""
    counts: Counter[Frame] = Counter()
    for _, space in machine.spaces():
        mapped = Counter(pte.frame for pte in space.page_table.ptes())
        counts.update({frame: count * space.idle for frame, count in mapped.items()} if space.idle else mapped)
    return counts


def held(machine: Machine, frame: Frame) -> int:
    """Count all holders of `frame`: leaf entries, the page cache, pins, and a fixed buffer."""
    return entries(machine, frame) + machine.cache.holds(frame) + pins(machine, frame) + fixed(machine, frame)


def fixed(machine: Machine, frame: Frame) -> int:
    """Give the references that a fixed buffer adds to `frame`; 0 where the buffer does not lie in it."""
    is_buffer = machine.fixed is not None and machine.fixed.frame is frame
    return machine.semantics.fixed_buffer_references if is_buffer else 0


def pins(machine: Machine, frame: Frame) -> int:
    """Count how often the program's pipe holds `frame`."""
    return sum(pin.frame is frame for pin in machine.pins)


def page_tables(machine: Machine, number: int) -> int:
    """Count the table pages of live process `number`, the root included.

    A kernel may have more: tables for what lies outside the windows (stack, the agent's own pages), and,
    after fork, tables that its parent had and that held nothing worth copying.
    """
    return len(machine.process(number).memory.page_table.tables())


def free_unheld(machine: Machine, frames: Iterable[Frame]) -> None:
    """Give back those of `frames` that nobody holds any more, and end shared memory that nobody maps any more.

    Called after VMAs or entries went away. It looks at everybody else's, where a kernel drops a count
    and looks whether that was the last (Linux: page_remove_rmap, put_page; fput for the file behind shared memory).
    """
    dropped = {frame for frame in frames if frame is not machine.zero and frame.kind is not FrameKind.CACHE}
    dropped.update(_end_unmapped(machine))
    if not dropped:
        return
    for _, space in machine.spaces():
        dropped.difference_update([pte.frame for pte in space.page_table.ptes()])
    dropped.difference_update([pin.frame for pin in machine.pins])
    if machine.fixed is not None:
        dropped.discard(machine.fixed.frame)
    for frame in dropped:
        machine.pool.give_back(frame)


def _end_unmapped(machine: Machine) -> list[Frame]:
    """End the shared anonymous memory that is in no VMA any more, for nothing else could lead to it; give its frames."""
    unmapped = {name for name, file in machine.cache.files.items() if file.is_anonymous}
    if not unmapped:
        return []
    for _, space in machine.spaces():
        unmapped.difference_update([vma.file for vma in space.vmas if vma.file is not None])
    return [frame for name in sorted(unmapped) for frame in machine.cache.forget(machine.cache.files[name])]
