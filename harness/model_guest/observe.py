"""What an observer sees: VMAs, entries, the kernel's own counts, and the bytes that a process reads.

Everything is taken from the kernel's own words, right or wrong. The bytes come last, and each process
reads its own, only where a page is resident and its VMA lets it read: looking changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from harness.model_guest.entries import live_root
from harness.model_guest.features import Feature
from harness.model_guest.kernel import Kernel
from harness.model_guest.machine import Machine
from harness.model_guest.pagefault import translate
from harness.model_guest.paging import PRESENT, pfn_of
from harness.model_guest.process_table import Process
from harness.program.files import FILES
from harness.program.trace import (
    Accounting,
    Frame,
    FrameFlag,
    FrameSeen,
    Observation,
    PageSeen,
    ProcessSeen,
    RssSeen,
    Runs,
    SizeSeen,
    VmaSeen,
)
from harness.program.units import WINDOW_BY_NAME

_ABSENT = PageSeen(present=False)
_RUN_OF = [re.compile(re.escape(bytes([value])) + b"*") for value in range(256)]


def observe(kernel: Kernel, windows: Iterable[str], *, after: int, accounts: bool = False) -> Observation:
    """Look at the named windows of every live process, when `after` steps are done; with `accounts` at its sizes too."""
    machine = kernel.machine
    ranges = [range(run.vpn, run.vpn + run.npages) for name in windows for run in WINDOW_BY_NAME[name].runs()]
    resident = {name: _resident(machine, kernel.processes[name], ranges) for name in kernel.live}
    frames = {pfn: frame_seen(machine, pfn) for pfns in resident.values() for pfn in pfns.values()}
    seen = {name: _process_seen(kernel, name, ranges, pfns) for name, pfns in resident.items()}
    if accounts:
        seen = {name: _with_accounts(machine, kernel.processes[name], ranges, each) for name, each in seen.items()}
    return Observation(after, seen, frames)


def frame_seen(machine: Machine, pfn: Frame) -> FrameSeen:
    """Give the kernel's numbers for one frame. Those of the zero page mean nothing."""
    if pfn == machine.zero_pfn:
        return FrameSeen(mapcount=0, refcount=1, flags=FrameFlag.ZERO_PAGE)
    frame = machine.frames[pfn]
    flags = FrameFlag(0)
    if frame.free:
        flags |= FrameFlag.BUDDY
    if machine.swap.slot_of(pfn) is not None:
        flags |= FrameFlag.SWAPCACHE
    if frame.anonymous:
        flags |= FrameFlag.LRU | FrameFlag.ANON
    if frame.cached:
        flags |= FrameFlag.LRU
    return FrameSeen(frame.mapcount, frame.refcount, flags)


PROMISED_TO_OTHERS = 1000
"""Pages that are promised to who is no process of a program."""


def accounting(machine: Machine) -> Accounting:
    """Give the machine-wide counts. What the cache has of images can be read again, and counts as free."""
    frames = machine.frames
    cached = sum(len(file.cached()) for file in machine.images.values())
    slots = machine.swap.free_count if Feature.SWAP in machine.features else None
    promised = PROMISED_TO_OTHERS + machine.promised_to_nobody
    return Accounting(frames.free_count + cached, machine.tables.count, frames.anonymous, promised, slots)


def leftover(machine: Machine, observations: Iterable[Observation]) -> dict[Frame, FrameSeen]:
    """Find the observed frames that are not free, though no process is left and they are not of an image."""
    image = {pfn for file in machine.images.values() for pfn in file.cached()}
    seen = {pfn for observation in observations for pfn in observation.frames}
    return {
        pfn: frame_seen(machine, pfn)
        for pfn in sorted(seen - {machine.zero_pfn})
        if not machine.frames[pfn].free and pfn not in image
    }


def _resident(machine: Machine, process: Process, ranges: list[range]) -> dict[int, Frame]:
    """Map virtual page to frame, for the pages that have a present entry."""
    root = live_root(process.space)
    return {
        vpn: pfn_of(entry)
        for vpns in ranges
        for vpn, entry in zip(vpns, machine.tables.lookup_range(root, vpns), strict=True)
        if entry & PRESENT
    }


def _process_seen(kernel: Kernel, name: int, ranges: list[range], pfns: dict[int, Frame]) -> ProcessSeen:
    process = kernel.run(name)
    pages = {vpn: _ABSENT for vpns in ranges for vpn in vpns}
    for vpn, pfn in pfns.items():
        pages[vpn] = PageSeen(True, pfn, _content(kernel.machine, process, vpn))
    return ProcessSeen(pages, _vmas(process, ranges))


def _with_accounts(machine: Machine, process: Process, ranges: list[range], seen: ProcessSeen) -> ProcessSeen:
    size = SizeSeen(process.space.size, process.space.vmas.npages)
    return replace(seen, rss=_rss_seen(machine, process, ranges), size=size)


def _rss_seen(machine: Machine, process: Process, ranges: list[range]) -> RssSeen:
    """Give the counts of a process's resident pages, and how many of those lie outside of `ranges`."""
    space = process.space
    entries = [
        pfn_of(entry)
        for vpn, entry in machine.tables.leaves(live_root(space))
        if not any(vpn in vpns for vpns in ranges) and pfn_of(entry) != machine.zero_pfn
    ]
    anonymous = sum(machine.frames[pfn].anonymous for pfn in entries)
    counted = space.rss
    return RssSeen(counted["anonymous"], counted["file"], counted["shared"], anonymous, len(entries) - anonymous)


def _content(machine: Machine, process: Process, vpn: int) -> Runs | None:
    vma = process.space.vmas.find(vpn)
    if vma is None or not vma.prot or process.waits_for is not None:
        return None
    pfn = translate(machine, process.space, vpn)
    return None if pfn is None else _runs(bytes(machine.frames[pfn].data))


def _vmas(process: Process, ranges: list[range]) -> tuple[VmaSeen, ...]:
    found: list[VmaSeen] = []
    for vma in process.space.vmas:
        for vpns in ranges:
            start, stop = max(vma.start, vpns.start), min(vma.end, vpns.stop)
            if start < stop:
                file = vma.file.name if vma.file is not None and vma.file.name in FILES else None
                found.append(VmaSeen(start, stop - start, vma.prot, vma.shared, vma.file_page(start), file))
    return tuple(sorted(found))


@lru_cache(maxsize=1024)
def _runs(content: bytes) -> Runs:
    """Run-length encode a page: as `trace.runs_of`, forty times as fast."""
    runs: list[tuple[int, int]] = []
    at = 0
    while at < len(content):
        value = content[at]
        match = _RUN_OF[value].match(content, at)
        end = match.end() if match else at + 1
        runs.append((value, end - at))
        at = end
    return tuple(runs)
