"""The page cache: what files hold, one frame a page, for everybody who maps, reads or writes them.

A file has no bytes but these. A shared mapping *is* the file: its entries lead to the cache's own frames, so that a
store is in the file at once, and read(2) and write(2) work on the same frames. A private mapping starts from them and
parts from them, page by page, at the first store (`fault`)::

      shared mapping, p0 ──┐
      shared mapping, p1 ──┼──▶ frame of page 2 of f ◀── read(2), write(2)
     private mapping, p2 ──┘         │ store by p2: copied, and only p2's entry goes
                                     ▼
                               a frame of p2's own

The cache is a holder of its frames as a page-table entry is: a frame outlives its last mapper, and a sole mapper is not
its sole holder. What ends a cached page is that the file gets shorter (`cut`), or that nobody can name the file any more.

Three things are files in this sense::

    text, data,      what the images that `exec` runs map of their files (`harness.program.image`): for ever, and nobody
    small data, …    writes to them
    f, g, m          the program's files (`harness.program.files`): there from the first step that names one to the end
    shared 1, …      shared anonymous memory, a file without a name: it ends with its last mapping (`counts`)

A page that is in no frame yet is a *hole* and reads zero (or as the image file says); touching it makes the frame. The
size is in bytes, and the last page may be a part of one: the rest of it reads zero, a shared mapping may store there, and
read(2) never gives it.

Trap: Linux calls the page cache of a file its `struct address_space`. Here `AddressSpace` is a process's, and
`PageCache` the files'.

Source: mmap(2), ftruncate(2); filemap_fault, shmem_fault, shmem_get_folio; shmem_zero_setup (shared anonymous memory is a
file of tmpfs); page_cache_ra_unbounded and others bring pages in ahead of time, which no program can see.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from harness.model.frame import ZEROES, Frame, FrameKind, FramePool
from harness.program.files import FILES
from harness.program.image import SEGMENT_OF, image_page
from harness.program.units import PAGE_SIZE

Key = tuple[str, int]
"""A page of a file: the file's name, and the page's index in it."""


@dataclass(slots=True, eq=False)
class CachedFile:
    """What the kernel knows of a file beside its pages. `size` is in bytes."""

    name: str
    size: int
    is_linked: bool = False
    """A name in the file system leads to it."""
    is_anonymous: bool = False
    """It is shared anonymous memory: nothing but its mappings leads to it."""
    is_segment: bool = False
    """It is a segment of System V, which is removed already."""

    @property
    def npages(self) -> int:
        """The number of its pages, of which the last may be a part."""
        return -(-self.size // PAGE_SIZE)


class PageCache:
    """All files, and the frames of their pages.

    `frames` holds the frame of each page that has one, `files` the files that somebody has named so far.
    """

    __slots__ = ("files", "frames", "pool", "shared_made")

    def __init__(self, pool: FramePool) -> None:
        self.pool = pool
        self.frames: dict[Key, Frame] = {}
        self.files = {name: CachedFile(name, segment.file_pages * PAGE_SIZE) for name, (_, segment) in SEGMENT_OF.items()}
        self.shared_made = 0

    # ------------------------------------------------------------------------------ files

    def file(self, name: str) -> CachedFile:
        """Give a file by its name; one of the program's is made, with what it holds, when it is named first."""
        found = self.files.get(name)
        if found is None:
            given = FILES[name]
            found = self.files[name] = CachedFile(name, given.size, is_linked=not given.is_memfd)
            if given.tag:
                for index in range(found.npages):
                    self.frames[name, index] = self.pool.fresh(FrameKind.CACHE, given.page(index))
        return found

    def make_shared(self, npages: int, *, is_segment: bool = False) -> CachedFile:
        """Make shared anonymous memory of `npages` pages: a file of holes, of which only its mappings know."""
        self.shared_made += 1
        name = f"shared {self.shared_made}"
        self.files[name] = CachedFile(name, npages * PAGE_SIZE, is_anonymous=True, is_segment=is_segment)
        return self.files[name]

    def forget(self, file: CachedFile) -> list[Frame]:
        """Let a file go to which nothing leads any more; give its pages, which the cache no longer holds."""
        del self.files[file.name]
        return self.drop(file, 0)

    # ------------------------------------------------------------------------------ pages

    def frame(self, name: str, index: int) -> Frame:
        """Give the frame of page `index` of a file; a hole gets one."""
        frame = self.frames.get((name, index))
        if frame is None:
            frame = self.frames[name, index] = self.pool.fresh(FrameKind.CACHE, self.content(name, index))
            frame.is_hole = name not in SEGMENT_OF
        return frame

    def content(self, name: str, index: int) -> bytes:
        """Give the 4,096 bytes of a page, and leave a hole a hole."""
        return self.contents(name, index)[0]

    def contents(self, name: str, index: int) -> tuple[bytes, ...]:
        """Give all that a page may hold, as `Frame.contents`, and leave a hole a hole."""
        frame = self.frames.get((name, index))
        if frame is not None:
            return frame.contents
        return (image_page(name, index) if name in SEGMENT_OF else ZEROES,)

    def reaches(self, name: str, index: int) -> bool:
        """Tell whether a file has page `index`, or a part of it: beyond its end there is nothing to map."""
        return index * PAGE_SIZE < self.file(name).size

    def holds(self, frame: Frame) -> bool:
        """Tell whether `frame` is in the cache."""
        return frame.kind is FrameKind.CACHE and any(frame is each for each in self.frames.values())

    def forget_holes(self, frames: Collection[Frame]) -> None:
        """Let pages be holes again, of which the cache holds the `frames`, and nobody else does."""
        for key in [key for key, frame in self.frames.items() if frame in frames]:
            self.pool.give_back(self.frames.pop(key))

    def drop(self, file: CachedFile, first: int, stop: int | None = None) -> list[Frame]:
        """Let the pages of `file` from page `first` on go, up to `stop` where that is given, which nobody maps.
        Give the frames that lost a holder.
        """
        ours = [key for key in self.frames if key[0] == file.name and key[1] >= first]
        dropped = [self.frames.pop(key) for key in ours if stop is None or key[1] < stop]
        for frame in dropped:
            frame.kind = FrameKind.DETACHED
        return dropped

    def blank(self, file: CachedFile, start: int) -> None:
        """Zero the rest of the page in which byte `start` of `file` lies, where it has a frame and is not at its start."""
        rest = -start % PAGE_SIZE
        if rest:
            self.zero(file, start, start + rest)

    def zero(self, file: CachedFile, start: int, end: int) -> None:
        """Zero bytes `start` up to `end` of `file`, all of one page, where that has a frame: a hole is zero already.

        A frame that may have been dropped as a hole may still be one: then there was nothing to write to.
        """
        frame = self.frames.get((file.name, start // PAGE_SIZE))
        if frame is not None and start < end:
            may_be_hole = frame.is_hole and frame.is_paged_out
            frame.write(start % PAGE_SIZE, bytes(end - start))
            frame.is_hole = may_be_hole
