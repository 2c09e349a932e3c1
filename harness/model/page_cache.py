"""The page cache: the file pages of the image, one frame each, for all processes and for ever.

Trap: Linux calls the page cache of a file its `struct address_space`. Here `AddressSpace` is a
process's, and `PageCache` the file's.

The cache is a holder of its frames like a page-table entry is: a frame outlives its last mapper, and a
sole mapper is not its sole holder. Nothing ever writes to a cached page: all mappings are private.

Source: filemap_fault; page_cache_ra_unbounded and others bring pages in, which no program can see.
"""

from __future__ import annotations

from harness.model.frame import Frame, FrameKind, FramePool
from harness.program.image import IMAGE_PAGES


class PageCache:
    """The frames of the image file's pages, by window and page index; filled on first use."""

    __slots__ = ("frames", "pool")

    def __init__(self, pool: FramePool) -> None:
        self.pool = pool
        self.frames: dict[tuple[str, int], Frame] = {}

    def frame(self, window: str, index: int) -> Frame:
        """Give the frame of page `index` of image window `window`, reading the file if need be."""
        key = (window, index)
        frame = self.frames.get(key)
        if frame is None:
            frame = self.pool.fresh(FrameKind.CACHE, IMAGE_PAGES[key])
            self.frames[key] = frame
        return frame

    def holds(self, frame: Frame) -> bool:
        """Tell whether `frame` is in the cache."""
        return any(frame is each for each in self.frames.values())
