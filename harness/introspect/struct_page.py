"""Linux's own counts, read in its struct page: as /proc/kcore would show them, and where there is no /proc/kcore.

A kernel that can be dumped (CONFIG_VMCORE_INFO, before Linux 6.9 CONFIG_CRASH_CORE) keeps a text in its memory that says
where the array of struct page is, what lies where in it, and where the kernel's own root table is; so nothing of the
kernel has to run, and no symbol table is needed.

Sources: kernel/vmcore_info.c; arch/x86/kernel/vmcore_info_64.c; arch/arm64/kernel/vmcore_info.c; __START_KERNEL_map in
arch/x86/include/asm/page_64_types.h.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.errors import DefinitionError
from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.guest.vmcoreinfo import IN_SWAP_CACHE, StructPage, parse_vmcoreinfo, struct_page
from harness.introspect.kernel_memory import KernelMemory, Records
from harness.introspect.page_walk import Format
from harness.program.trace import Frame, FrameFlag, FrameSeen

_START_KERNEL_MAP = 0xFFFF_FFFF_8000_0000
_BEGINNING = b"OSRELEASE="


class StructPageCounts:
    """Reads `_refcount`, `_mapcount` and what tells of the LRU batch."""

    name = "struct page, by VMCOREINFO"
    holds = "references"
    tells_free = True

    def __init__(self, ram: GuestRam, form: Format) -> None:
        """Find the array. Raises DefinitionError where the kernel's memory does not say where it is."""
        for info in _vmcoreinfos(ram):
            try:
                self._page = struct_page(info)
                root = _kernel_root(info) // PAGE_SIZE
            except (KeyError, ValueError):
                continue
            memory = KernelMemory(ram, form, root)
            self._records = self._find(memory, self._page)
            if self._records.is_there:
                return
        raise DefinitionError("there is no VMCOREINFO in the guest's memory that leads to its struct page")

    @staticmethod
    def _find(memory: KernelMemory, page: StructPage) -> Records:
        frames = (memory.ram.start + memory.ram.size) // PAGE_SIZE - page.first_pfn
        return Records(memory, page.array, page.size, frames)

    def read(self, frame: Frame) -> FrameSeen:
        """See `Counts`."""
        values: dict[str, int] = {}
        for field in self._page.fields:
            value = self._records.number(frame - self._page.first_pfn, field.offset, field.width)
            if value is None:
                return FrameSeen()
            values[field.name] = value & field.mask
        if values.get("head") or values.get("tail"):
            return FrameSeen()
        flags = FrameFlag.LRU if values["lru"] else FrameFlag(0)
        flags |= FrameFlag.ANON if values["anon"] else FrameFlag(0)
        flags |= FrameFlag.SWAPCACHE if all(values.get(name) for name in IN_SWAP_CACHE) else FrameFlag(0)
        return FrameSeen(values["map_raw"] + 1 & 0xFFFF_FFFF, values["refcount"], flags)

    def move_to(self, ram: GuestRam) -> None:
        """See `Counts`."""
        self._records.move_to(ram)


def _vmcoreinfos(ram: GuestRam) -> Iterator[dict[str, str]]:
    """Give what looks like a VMCOREINFO, wherever it lies: the kernel has it in a page, and in an ELF note."""
    at = ram.find(_BEGINNING, 0)
    while at is not None:
        text = ram.bytes[at : at + PAGE_SIZE].tobytes().partition(b"\0")[0]
        yield parse_vmcoreinfo(text.decode("ascii", "replace"))
        at = ram.find(_BEGINNING, at + 1)


def _kernel_root(info: Mapping[str, str]) -> int:
    """Return the physical address of the kernel's own root table. Raises KeyError or ValueError."""
    root = int(info["SYMBOL(swapper_pg_dir)"], 16)
    if "NUMBER(kimage_voffset)" in info:
        return root - int(info["NUMBER(kimage_voffset)"], 16) & (1 << 64) - 1
    return root - _START_KERNEL_MAP + int(info["NUMBER(phys_base)"])
