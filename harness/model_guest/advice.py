"""madvise: VMA by VMA, drop pages, bring them in, or note what fork shall do."""

from __future__ import annotations

from collections.abc import Callable

from harness.model_guest.entries import live_root
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.mapping import drop_pages
from harness.model_guest.pagefault import touch
from harness.model_guest.paging import pfn_of
from harness.model_guest.trouble import Segfault
from harness.model_guest.vmas import NOT_FORKED, WIPED_ON_FORK, Vma
from harness.program.ops import Advice
from harness.program.units import Prot


def advise(machine: Machine, space: AddressSpace, vpns: range, advice: Advice) -> str:
    """Do what is advised. Returns the errno, "" where there is none. Raises OutOfMemory, Panic, Stuck."""
    if not vpns:
        return ""
    mapped = 0
    for vma in [vma for vma in space.vmas if vma.start < vpns.stop and vpns.start < vma.end]:
        part = range(max(vma.start, vpns.start), min(vma.end, vpns.stop))
        mapped += len(part)
        errno = _EFFECTS[advice](machine, space, vma, part)
        if errno:
            return errno
    return "" if mapped == len(vpns) else "ENOMEM"


def _dontneed(machine: Machine, space: AddressSpace, _vma: Vma, part: range) -> str:
    if not machine.has("dontneed-ignored"):  # planted: advice is taken for advice
        drop_pages(machine, space, part)
    return ""


def _free(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
    """Free at once what may be freed at any time, which a page that is registered as a buffer may not."""
    if vma.pgoff is not None:
        return "EINVAL"
    for run in _between_buffers(machine, space, part):
        drop_pages(machine, space, run, unasked=machine.has("free-takes-shared"))
    return ""


def _between_buffers(machine: Machine, space: AddressSpace, part: range) -> list[range]:
    """Cut a range where the registered buffer lies in it."""
    buffers = [vpn for vpn in part if machine.is_fixed(pfn_of(machine.tables.lookup(live_root(space), vpn)))]
    ends = [*buffers, part.stop]
    starts = [part.start, *(vpn + 1 for vpn in buffers)]
    return [range(*each) for each in zip(starts, ends, strict=True)]


def _flag(add: int, remove: int, *, anonymous: bool = False, ignored: str = "") -> Effect:
    def effect(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
        if anonymous and vma.pgoff is not None:
            return "EINVAL"
        if not (ignored and machine.has(ignored)):  # planted: what was advised before cannot be taken back
            space.vmas.advise(part.start, part.stop, add, remove)
        return ""

    return effect


def _populate(need: Prot, *, write: bool) -> Effect:
    def effect(machine: Machine, space: AddressSpace, vma: Vma, part: range) -> str:
        if not vma.prot & need:
            return "EINVAL"
        try:
            for vpn in part:
                # planted: both kinds bring pages in as a load would
                touch(machine, space, vpn, write=write and not machine.has("populate-write-reads"))
        except Segfault:
            return "EFAULT"
        return ""

    return effect


Effect = Callable[[Machine, AddressSpace, Vma, range], str]
"""Does what is advised to a part of a VMA. Returns the errno, "" where there is none."""

_EFFECTS: dict[Advice, Effect] = {
    Advice.DONTNEED: _dontneed,
    Advice.FREE: _free,
    Advice.DONTFORK: _flag(NOT_FORKED, 0),
    Advice.DOFORK: _flag(0, NOT_FORKED, ignored="dofork-ignored"),
    Advice.WIPEONFORK: _flag(WIPED_ON_FORK, 0, anonymous=True),
    Advice.KEEPONFORK: _flag(0, WIPED_ON_FORK, ignored="keeponfork-ignored"),
    Advice.POPULATE_READ: _populate(Prot.R, write=False),
    Advice.POPULATE_WRITE: _populate(Prot.W, write=True),
}
