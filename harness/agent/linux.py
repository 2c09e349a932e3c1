"""How to see frames on Linux: which files, and where in them the counts lie.

Everything is probed and nothing derived from a version. The true `_refcount` needs `struct page`: `/proc/kcore` is
an ELF core whose note VMCOREINFO names the offsets, and whose program headers map the array of struct page
(vmemmap) into the file. Without it, /proc/kpagecount still gives mapcounts and /proc/kpageflags the flags.

Sources: Documentation/admin-guide/kdump/vmcoreinfo.rst, Documentation/admin-guide/mm/pagemap.rst,
include/linux/mm_types.h.
"""

from __future__ import annotations

import io
import re

from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from harness.agent.codec import Field, Source
from harness.guest.vmcoreinfo import IN_SWAP_CACHE, parse_vmcoreinfo, struct_page
from harness.program.units import PAGE_SIZE

KCORE = "/proc/kcore"
HEAD_LENGTH = 16 * 1024
"""Enough of /proc/kcore for its headers and notes, in bytes."""

KPAGECOUNT = Source("/proc/kpagecount", 0, 8, 8, (Field("mapcount", 0, 8),))
KPAGEFLAGS = Source("/proc/kpageflags", 0, 8, 8, (Field("kflags", 0, 8, (1 << 32) - 1),))

KPAGEREFS = Source(
    "/proc/kpagerefs",
    0,
    16,
    16,
    (Field("in_use", 15, 1, 0x80), Field("refcount", 0, 4), Field("mapcount", 4, 4), Field("kflags", 8, 4)),
)
"""Not Linux's: the file of kernels that would show their counts to everybody, as fixtures/kernels/mini does."""


_UPPER_HALF = 1 << 63
"""What lies there belongs to the kernel, though /proc/PID/maps lists it: the gate page, [vsyscall]."""


def mapped_pages(maps: bytes) -> int:
    """Add up the VMAs of a /proc/PID/maps, in pages; lines that are none do not count."""
    ranges = [
        (int(first, 16), int(end, 16)) for first, end in re.findall(rb"^([0-9a-f]+)-([0-9a-f]+) ", maps, re.MULTILINE)
    ]
    return sum(end - first for first, end in ranges if first < _UPPER_HALF) // PAGE_SIZE


def struct_page_source(kcore_head: bytes, *, has_swap: bool = False) -> tuple[Source | None, str]:
    """Find struct page in the first HEAD_LENGTH bytes of /proc/kcore; what only swap makes is left out where there is none.

    Returns the source, and an empty text; or None, and the reason why there is none.
    """
    try:
        core = ELFFile(io.BytesIO(kcore_head))
        page = struct_page(_vmcoreinfo(core))
        base = _file_offset(core, page.array)
    except Exception as error:  # these are a guest's bytes, and on broken ones the parser raises what it likes
        return None, f"/proc/kcore does not describe struct page ({type(error).__name__}: {error})"
    if base is None:
        return None, f"/proc/kcore does not hold the array of struct page at 0x{page.array:x}"
    wanted = [each for each in page.fields if has_swap or each.name not in IN_SWAP_CACHE]
    fields = tuple(Field(each.name, each.offset, each.width, each.mask) for each in wanted)
    return Source(KCORE, base - page.first_pfn * page.size, page.size, min(page.size, 64), fields), ""


def _vmcoreinfo(core: ELFFile) -> dict[str, str]:
    for segment in core.iter_segments("PT_NOTE"):
        for note in segment.iter_notes() if isinstance(segment, NoteSegment) else ():
            if note["n_name"] == "VMCOREINFO":
                return parse_vmcoreinfo(note["n_descdata"].decode("ascii", "replace"))
    raise KeyError("VMCOREINFO")


def _file_offset(core: ELFFile, address: int) -> int | None:
    for segment in core.iter_segments("PT_LOAD"):
        start = segment["p_vaddr"]
        if start <= address < start + segment["p_memsz"]:
            return int(segment["p_offset"] + address - start)
    return None
