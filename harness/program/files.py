"""The files that programs can map, read and write: made anew for each program that names one.

::

    name   kind              size when the program begins      what it holds
    f      regular file      3 pages and 1,000 bytes           page i, byte o: 0x40 | i << 3 | o >> 9
    g      regular file      2 pages                           page i, byte o: 0x20 | i << 3 | o >> 9
    m      memfd             4 pages                           zeroes: holes, with no page behind them yet

Every process of a program has each of them open for reading and writing, and a regular file that is mapped otherwise
(`Opened`) also for reading alone or for writing alone. A file never grows beyond `MAX_FILE_PAGES`. The blocks of 512
bytes are those of the image (`harness.program.image`), with other tags, so that a page at the wrong offset shows in its
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.program.units import PAGE_SIZE

MAX_FILE_PAGES = 16
"""The longest file, in pages; truncate and write stay within it."""

MAX_FILE_SIZE = MAX_FILE_PAGES * PAGE_SIZE
"""The same, in bytes."""

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class File:
    """A file as a program finds it. `tag` marks its bytes, 0 where it is all zeroes; `size` is in bytes."""

    name: str
    is_memfd: bool
    size: int
    tag: int

    def page(self, index: int) -> bytes:
        """Give the 4,096 bytes of page `index` as the program finds it; beyond the end of the file they are zero."""
        tag = self.tag | index << 3
        whole = b"".join(bytes([tag | block]) * _BLOCK for block in range(8)) if self.tag else bytes(PAGE_SIZE)
        inside = min(max(self.size - index * PAGE_SIZE, 0), PAGE_SIZE)
        return whole[:inside].ljust(PAGE_SIZE, b"\0")


FILES = {
    file.name: file
    for file in (
        File("f", is_memfd=False, size=3 * PAGE_SIZE + 1000, tag=0x40),
        File("g", is_memfd=False, size=2 * PAGE_SIZE, tag=0x20),
        File("m", is_memfd=True, size=4 * PAGE_SIZE, tag=0),
    )
}
"""Every file, by name."""

ANON = "anon"
STACK = "stack"
"""Anonymous memory that grows downwards when the page below it is touched (MAP_GROWSDOWN)."""

SHM = "shm"
"""Shared memory of System V: a segment as long as the mapping, attached (shmat) and marked to go with its last mapping."""

BACKINGS = (ANON, STACK, *FILES, SHM)
"""What a mapping can be of; the order is that of the numbers on the wire."""
