"""Files: the pages of each in frames, of which the page cache holds one reference each.

A file lives as long as something leads to it: an image for ever, a file of the program until the program is over, shared
anonymous memory while VMAs map it. For the last `mapped` counts the pages of all VMAs that map the file, up and down as
VMAs come and go.
"""

from __future__ import annotations

from collections.abc import Collection

from harness.model_guest.frames import Frames
from harness.program.files import FILES
from harness.program.image import Image, image_page
from harness.program.units import PAGE_SIZE


class File:
    """One file. `size` is in bytes; a page without a frame is a hole."""

    is_in_memory = True
    """Whether it is nowhere else."""

    def __init__(self, frames: Frames, name: str, size: int) -> None:
        self.frames = frames
        self.name = name
        self.size = size
        self.linked = True
        self.mapped = 0
        self.is_segment = False
        """It is a segment of System V."""
        self._pfn_of: dict[int, int] = {}

    def reaches(self, page: int) -> bool:
        """Tell whether the file has (a part of) a page."""
        return page * PAGE_SIZE < self.size

    def lookup(self, page: int) -> int | None:
        """Give the frame of a page, None where there is a hole."""
        return self._pfn_of.get(page)

    def cached(self) -> Collection[int]:
        """Give the frames that the cache has of it."""
        return self._pfn_of.values()

    def page(self, page: int) -> int:
        """Give the frame of a page; a hole gets a zeroed one. Raises OutOfMemory."""
        pfn = self._pfn_of.get(page)
        if pfn is None:
            pfn = self.frames.allocate()
            self.insert(page, pfn)
        return pfn

    def insert(self, page: int, pfn: int) -> None:
        """Put a frame into the cache; the caller's hold of it becomes the cache's."""
        old = self._pfn_of.get(page)
        self._pfn_of[page] = pfn
        self.frames[pfn].cached = True
        self.frames[pfn].in_memory = self.is_in_memory
        if old is not None:
            self.frames[old].cached = False
            self.frames.put(old)

    def fill(self, page: int, content: bytes) -> None:
        """Give a page its first content."""
        self.frames[self.page(page)].data[:] = content

    def evict(self, first: int, stop: int | None = None, *, keep_hold: bool = False) -> None:
        """Take the pages from `first` on, up to `stop` where that is given, out of the cache, which lets go of each."""
        for page in [page for page in self._pfn_of if page >= first and (stop is None or page < stop)]:
            pfn = self._pfn_of.pop(page)
            if not keep_hold:
                self.frames.put(pfn)

    def lose(self, page: int) -> None:
        """Take one page out of the cache, and what it holds with it. Only where a fault says so."""
        pfn = self._pfn_of.pop(page, None)
        if pfn is not None:
            self.frames[pfn].cached = False
            self.frames.put(pfn)

    def twin(self) -> File:
        """Give another file that has the same frames, and holes of its own."""
        twin = File(self.frames, self.name, self.size)
        for page, pfn in self._pfn_of.items():
            self.frames.get(pfn)
            twin._pfn_of[page] = pfn
        return twin


class ImageFile(File):
    """The file of an image, on a disk: a page comes into the cache when it is asked for first.

    Page 0 is the header, which nobody maps; then come the pages of the segments, in order, and `start_of` tells where.
    """

    is_in_memory = False

    def __init__(self, frames: Frames, image: Image) -> None:
        self.start_of: dict[str, int] = {}
        self._on_disk: list[tuple[str, int]] = []
        for segment in image.segments:
            self.start_of[segment.file] = 1 + len(self._on_disk)
            self._on_disk += [(segment.file, index) for index in range(segment.file_pages)]
        super().__init__(frames, image.name, (1 + len(self._on_disk)) * PAGE_SIZE)

    def page(self, page: int) -> int:
        """Give the frame of a page, read from the disk where need be. Raises OutOfMemory."""
        is_new = self.lookup(page) is None
        pfn = super().page(page)
        if is_new and page > 0:
            self.frames[pfn].data[:] = image_page(*self._on_disk[page - 1])
        return pfn

    def read_all(self) -> None:
        """Bring in all pages but the header. Raises OutOfMemory."""
        for page in range(1, 1 + len(self._on_disk)):
            self.page(page)


class Files:
    """The files of a machine beside the images."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.planted = frames.planted
        self._named: dict[str, File] = {}
        self._nameless: list[File] = []

    def open(self, name: str) -> File:
        """Give a file of the program; it is made when it is asked for first. Raises OutOfMemory."""
        if name not in self._named:
            given = FILES[name]
            file = self._named[name] = File(self.frames, name, given.size)
            for page in range(-(-given.size // PAGE_SIZE) if given.tag else 0):
                file.fill(page, given.page(page))
        return self._named[name]

    def nameless(self, npages: int, *, is_segment: bool = False) -> File:
        """Make the file behind shared anonymous memory, or behind a segment of System V that was removed already."""
        file = self.adopt(File(self.frames, "", npages * PAGE_SIZE))
        file.is_segment = is_segment
        return file

    def adopt(self, file: File) -> File:
        """Look after a file that only its mappings lead to."""
        self._nameless.append(file)
        return file

    def forget_unmapped(self, *, at_exit: bool = False) -> None:
        """End the nameless files that no VMA maps any more."""
        keeps = at_exit and "shm-exit-keeps-segment" in self.planted  # planted: only shmdt asks who is left
        for file in [each for each in self._nameless if not each.mapped and not (keeps and each.is_segment)]:
            file.evict(0)
            self._nameless.remove(file)

    def close(self) -> None:
        """End the files that have names, when the program is over. The others have ended with their last mapping."""
        for file in self._named.values():
            file.evict(0)
        self._named.clear()
