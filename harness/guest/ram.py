"""The RAM of a guest as memory of ours: what QEMU and the harness share, and the guest cannot know of.

QEMU is given a file without a name (memfd_create), which both map. It goes away with the last of the two, so nothing
is left behind however we end; and it takes room of the host's memory only, so no disk can be too full for it. Nothing of
it is trusted: whoever reads it checks every number, for a guest writes there what it likes.

Source: memfd_create(2); QEMU docs, memory-backend-file.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from harness.errors import StorageError

BACKEND = "ram"
"""QEMU's name for the guest's memory. The same with and without a file, so that one snapshot serves both."""

PAGE_SIZE = 4096
_START = {"x86_64": 0, "arm64": 0x4000_0000}
"""Where RAM begins in the guest's physical addresses. Source: QEMU hw/i386/pc.c, hw/arm/virt.c."""
_MOST_MB = {"x86_64": 2048, "arm64": 65536}
"""Up to here RAM is one piece: a PC with more has a hole below 4 GiB."""


class GuestRam:
    """The RAM of one machine: `bytes`, and the same as `cells` of four bytes and `words` of eight, little-endian."""

    def __init__(self, arch: str, memory_mb: int) -> None:
        """Make room for `memory_mb` MiB; StorageError where there can be none, with the reason."""
        if arch not in _START or sys.byteorder != "little":
            raise StorageError(f"the layout of the memory of an {arch} machine is not known here")
        if memory_mb > _MOST_MB[arch]:
            raise StorageError(f"a machine with {memory_mb} MiB has its memory in more than one piece")
        self.start = _START[arch]
        self.size = memory_mb << 20
        self.fd = -1
        try:
            self.fd = os.memfd_create("guest-ram")
            os.ftruncate(self.fd, self.size)
            self._map = mmap.mmap(self.fd, self.size)
        except OSError as error:
            self._close_file()
            raise StorageError(f"the host gives no shared memory: {error.strerror}") from error
        self.bytes = memoryview(self._map)
        self.cells = self.bytes.cast("I")
        self.words = self.bytes.cast("Q")

    def backend(self) -> str:
        """Return QEMU's -object for this memory; the process needs to inherit `fd`."""
        return f"memory-backend-file,id={BACKEND},size={self.size},mem-path=/proc/self/fd/{self.fd},share=on"

    def offset(self, address: int) -> int | None:
        """Turn a physical address of the guest into an offset here; None where there is no RAM."""
        offset = address - self.start
        return offset if 0 <= offset < self.size else None

    def find(self, bytes_: bytes, start: int) -> int | None:
        """Return the offset of the first place from offset `start` on that holds `bytes_`; None where there is none."""
        found = self._map.find(bytes_, start)
        return found if found >= 0 else None

    def used_pages(self) -> Iterator[range]:
        """Give the ranges of pages, by number in the file, that somebody has ever touched."""
        end = 0
        while end < self.size:
            try:
                first = os.lseek(self.fd, end, os.SEEK_DATA)
                end = os.lseek(self.fd, first, os.SEEK_HOLE)
            except OSError:  # no more data
                return
            yield range(first // PAGE_SIZE, end // PAGE_SIZE)

    def close(self) -> None:
        """Give the memory up; safe to call twice."""
        if self.fd < 0:
            return
        self.words.release()
        self.cells.release()
        self.bytes.release()
        self._map.close()
        self._close_file()

    def _close_file(self) -> None:
        with suppress(OSError):
            os.close(self.fd)
        self.fd = -1
