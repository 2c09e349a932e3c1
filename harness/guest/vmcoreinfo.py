"""What a Linux says of its struct page in its VMCOREINFO: a text of KEY=VALUE lines for who reads its memory.

Sources: Documentation/admin-guide/kdump/vmcoreinfo.rst, include/linux/mm_types.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VMEMMAP_X86_64 = 0xFFFF_EA00_0000_0000
"""Where the array of struct page lies without KASLR. Source: Documentation/arch/x86/x86_64/mm.rst."""
_PAGE_SIZE = 4096
IN_SWAP_CACHE = ("swapcache", "swapbacked")
"""The fields of a frame in the swap cache, of which a kernel without swap has none."""


@dataclass(frozen=True, slots=True)
class PageField:
    """A number in struct page: bytes from its start, bytes long, and which of its bits."""

    name: str
    offset: int
    width: int
    mask: int = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class StructPage:
    """The array of struct page: `size` bytes each, from the virtual address `array` on, for the frame `first_pfn`.

    The fields are `refcount`, `map_raw` (_mapcount, one less than the mappers), and some that are zero or not: `lru`;
    `anon`, bit 0 of `mapping` (PAGE_MAPPING_ANON), which follows the list head lru; `head` and `tail`, by which the
    frames of a page of several are known (PageCompound); and IN_SWAP_CACHE, two flags that are both set for a frame there
    (PageSwapCache: the first alone means something else).
    """

    size: int
    array: int
    first_pfn: int
    fields: tuple[PageField, ...]


def parse_vmcoreinfo(text: str) -> dict[str, str]:
    """Split the lines of a VMCOREINFO."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def struct_page(info: Mapping[str, str]) -> StructPage:
    """Find struct page. Raises KeyError or ValueError where the VMCOREINFO does not describe it."""
    size = int(info["SIZE(page)"])
    fields: tuple[PageField, ...] = (
        PageField("refcount", int(info["OFFSET(page._refcount)"]), 4),
        PageField("map_raw", int(info["OFFSET(page._mapcount)"]), 4),
        PageField("lru", int(info["OFFSET(page.flags)"]), 8, 1 << int(info["NUMBER(PG_lru)"])),
        PageField("anon", int(info["OFFSET(page.lru)"]) + 16, 1, 1),
    )
    if all(f"NUMBER({flag})" in info for flag in ("PG_swapcache", "PG_swapbacked")):
        flags = zip(IN_SWAP_CACHE, ("PG_swapcache", "PG_swapbacked"), strict=True)
        fields += tuple(
            PageField(name, int(info["OFFSET(page.flags)"]), 8, 1 << int(info[f"NUMBER({flag})"])) for name, flag in flags
        )
    tail = info.get("OFFSET(page.compound_head)", info.get("OFFSET(page.compound_info)"))  # the latter since Linux 7
    if "NUMBER(PG_head_mask)" in info and tail is not None:
        fields += (
            PageField("head", int(info["OFFSET(page.flags)"]), 8, int(info["NUMBER(PG_head_mask)"])),
            PageField("tail", int(tail), 1, 1),
        )
    for field in fields:
        if not 0 <= field.offset <= min(size, 64) - field.width:
            raise ValueError(f"{field.name} at byte {field.offset} is not in a record of {size} bytes")
    return StructPage(size, *_array(info), fields)


def _array(info: Mapping[str, str]) -> tuple[int, int]:
    """Find the array of struct page: the address of its first element in memory, and the PFN of that.

    arm64 says where its array starts, and memory, which is the first that it describes. Source: arch/arm64/kernel/
    vmcore_info.c; arch/arm64/include/asm/pgtable.h, the macro vmemmap.
    """
    if "NUMBER(VMEMMAP_START)" in info:
        return int(info["NUMBER(VMEMMAP_START)"], 16), int(info["NUMBER(PHYS_OFFSET)"], 16) // _PAGE_SIZE
    return int(info.get("SYMBOL(vmemmap)", f"{VMEMMAP_X86_64:x}"), 16), 0
