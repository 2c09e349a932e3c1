"""How to see frames on Linux: which files, and where in them the counts lie.

Everything is probed and nothing derived from a version. The true `_refcount` needs `struct page`: `/proc/kcore` is
an ELF core whose note VMCOREINFO names the offsets, and whose program headers map the array of struct page
(vmemmap) into the file. Without it, /proc/kpagecount still gives mapcounts and /proc/kpageflags the flags.

Sources: Documentation/admin-guide/kdump/vmcoreinfo.rst, Documentation/admin-guide/mm/pagemap.rst,
include/linux/mm_types.h.
"""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from harness.agent.codec import Field, Source
from harness.program.units import PAGE_SIZE

KCORE = "/proc/kcore"
HEAD_LENGTH = 16 * 1024
"""Enough of /proc/kcore for its headers and notes, in bytes."""

VMEMMAP_X86_64 = 0xFFFF_EA00_0000_0000
"""Where the array of struct page lies without KASLR. Source: Documentation/arch/x86/x86_64/mm.rst."""

KPAGECOUNT = Source("/proc/kpagecount", 0, 8, 8, (Field("mapcount", 0, 8),))
KPAGEFLAGS = Source("/proc/kpageflags", 0, 8, 8, (Field("kflags", 0, 8, (1 << 32) - 1),))

KPAGEREFS = Source(
    "/proc/kpagerefs",
    0,
    8,
    8,
    (Field("in_use", 7, 1, 0x80), Field("refcount", 0, 2), Field("mapcount", 2, 2), Field("kflags", 4, 4)),
)
"""Not Linux's: the file of kernels that would show their counts to everybody, as fixtures/kernels/mini does."""


def struct_page_source(kcore_head: bytes) -> tuple[Source | None, str]:
    """Find struct page in the first HEAD_LENGTH bytes of /proc/kcore.

    Returns the source, and an empty text; or None, and the reason why there is none.
    """
    try:
        core = ELFFile(io.BytesIO(kcore_head))
        info = _vmcoreinfo(core)
        size = int(info["SIZE(page)"])
        vmemmap, first_pfn = _vmemmap(info)
        base = _file_offset(core, vmemmap)
        fields = _fields(info, size)
    except Exception as error:  # these are a guest's bytes, and on broken ones the parser raises what it likes
        return None, f"/proc/kcore does not describe struct page ({type(error).__name__}: {error})"
    if base is None:
        return None, f"/proc/kcore does not hold the array of struct page at 0x{vmemmap:x}"
    return Source(KCORE, base - first_pfn * size, size, min(size, 64), fields), ""


def _vmemmap(info: dict[str, str]) -> tuple[int, int]:
    """Find the array of struct page: the address of its first element in memory, and the PFN of that.

    arm64 says where its array starts, and memory, which is the first that it describes. Source: arch/arm64/kernel/
    vmcore_info.c; arch/arm64/include/asm/pgtable.h, the macro vmemmap.
    """
    if "NUMBER(VMEMMAP_START)" in info:
        return int(info["NUMBER(VMEMMAP_START)"], 16), int(info["NUMBER(PHYS_OFFSET)"], 16) // PAGE_SIZE
    return int(info.get("SYMBOL(vmemmap)", f"{VMEMMAP_X86_64:x}"), 16), 0


def _vmcoreinfo(core: ELFFile) -> dict[str, str]:
    for segment in core.iter_segments("PT_NOTE"):
        for note in segment.iter_notes() if isinstance(segment, NoteSegment) else ():
            if note["n_name"] == "VMCOREINFO":
                text = note["n_descdata"]
                lines = text.decode("ascii", "replace").splitlines()
                return dict(line.split("=", 1) for line in lines if "=" in line)
    raise KeyError("VMCOREINFO")


def _file_offset(core: ELFFile, address: int) -> int | None:
    for segment in core.iter_segments("PT_LOAD"):
        start = segment["p_vaddr"]
        if start <= address < start + segment["p_memsz"]:
            return int(segment["p_offset"] + address - start)
    return None


def _fields(info: dict[str, str], size: int) -> tuple[Field, ...]:
    refcount = Field("refcount", int(info["OFFSET(page._refcount)"]), 4)
    mapcount = Field("map_raw", int(info["OFFSET(page._mapcount)"]), 4)
    lru = Field("lru", int(info["OFFSET(page.flags)"]), 8, 1 << int(info["NUMBER(PG_lru)"]))
    # struct page's `mapping` has bit 0 set for anonymous pages (PAGE_MAPPING_ANON); it follows the list head lru
    anon = Field("anon", int(info["OFFSET(page.lru)"]) + 16, 1, 1)
    fields = (refcount, mapcount, lru, anon)
    for field in fields:
        if not 0 <= field.offset <= min(size, 64) - field.width:
            raise ValueError(f"{field.name} at byte {field.offset} is not in a record of {size} bytes")
    return fields
