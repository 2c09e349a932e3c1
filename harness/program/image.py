"""The contents of the image that `exec` runs: what its pages hold in the file.

The agent's linker script and assembly lay out the same bytes (`fixtures/agent/subject.S`): each page is
eight blocks of 512 bytes, each block of one value that no other block has::

    data page i, byte o:   0x80 | i << 3 | o >> 9          (four pages, 0x80 … 0x9f)
    text page i, byte o:   0xc0 | i << 3 | o >> 9          (two pages,  0xc0 … 0xcf)

so that a page at the wrong offset, or half a page, shows in its bytes.
"""

from __future__ import annotations

from harness.program.units import WINDOW_BY_NAME

_TAG = {"data": 0x80, "text": 0xC0}
_BLOCK = 512


def image_page(window: str, index: int) -> bytes:
    """Give the 4,096 bytes that page `index` of image window `text` or `data` has in the file."""
    tag = _TAG[window] | index << 3
    return b"".join(bytes([tag | block]) * _BLOCK for block in range(8))


FILE_BACKED = tuple(_TAG)
"""The image windows whose pages come from the file; `bss` is anonymous."""

IMAGE_PAGES = {
    (name, index): image_page(name, index) for name in FILE_BACKED for index in range(WINDOW_BY_NAME[name].npages)
}
