"""The images that `exec` runs: how each is laid out in memory, and what its pages hold in its file.

The agent runs in all of them; they differ in the segments that programs look at, which begin at the same places
(`units.IMAGE`)::

    name           text                    data, of the file             behind it, zeroes up to
    own            2 pages                 4 pages                       page 8
    small          1 page                  1 page and 1,000 bytes        the end of that page: no page is bss alone
    large-bss      1 page                  1 page and 1,000 bytes        page 514, over 2 MiB: past heap, to bssend
    written-data   1 page                  6 pages                       nothing: its last page is full
    large-text     514 pages, to textend   4 pages                       page 8

The heap begins where the data segment ends in memory, rounded up to a page. A page of text or data is eight blocks of 512
bytes, each of one value; image number n begins its pages n blocks later than image 0::

    data page i, byte o:   0x80 | i % 7 << 3 | ((o >> 9) + n) % 8
    text page i, byte o:   0xc0 | i % 7 << 3 | ((o >> 9) + n) % 8

so that a page at the wrong offset, of another image, or half a page, shows in its bytes; (7, so that pages do not look
alike which are a power of two apart.) The file goes on like that to the end of a page of which the segment takes a part
only: what is zero there the kernel has to zero. `fixtures/agent/Makefile` and `subject.S` lay out the same bytes.

Source: elf(5), p_filesz and p_memsz: the bytes behind the file's are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from harness.program.units import FAR, IMAGE, PAGE_SIZE, PageRange, Prot

_TAG = {"data": 0x80, "text": 0xC0}
_BLOCK = 512
_PLACE = {window.name: window.vpn for window in IMAGE}


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of an image: `file_size` bytes of its file from page `vpn` on, then zeroes, `npages` pages in all.

    `file` names the part of the file that it maps, which begins with the segment.
    """

    file: str
    vpn: int
    prot: Prot
    file_size: int
    npages: int

    @property
    def file_pages(self) -> int:
        """The pages that hold a byte of the file, of which the last may be a part."""
        return -(-self.file_size // PAGE_SIZE)

    @property
    def tail(self) -> int:
        """How many bytes of the last page of the file are the segment's; 0 where that is whole, or nothing follows."""
        return self.file_size % PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Image:
    """One image; `name` is its word in the text form, `number` that on the wire."""

    name: str
    number: int
    text: Segment
    data: Segment

    @property
    def segments(self) -> tuple[Segment, Segment]:
        """All that a program sees of it, in the order of addresses."""
        return self.text, self.data

    @property
    def brk(self) -> int:
        """Where the heap begins, as a virtual page number."""
        return self.data.vpn + self.data.npages

    @property
    def windows(self) -> tuple[PageRange, ...]:
        """The windows in which an exec of it shows: where images begin, and those that only it reaches."""
        reached = [w for w in FAR if any(segment.vpn <= w.vpn < segment.vpn + segment.npages for segment in self.segments)]
        return tuple(PageRange(w.name, 0, w.npages) for w in (*IMAGE, *reached))


def _image(number: int, name: str, *, text: int, data: int, npages: int) -> Image:
    """Describe an image by the pages of its text, and the bytes in the file and pages in memory of its data."""
    files = ("text", "data") if number == 0 else (f"{name} text", f"{name} data")
    return Image(
        name,
        number,
        Segment(files[0], _PLACE["text"], Prot.R | Prot.X, text * PAGE_SIZE, text),
        Segment(files[1], _PLACE["data"], Prot.R | Prot.W, data, npages),
    )


OWN = "own"
"""The image that p0 begins in, and that `exec` without a name runs."""

IMAGES = {
    image.name: image
    for image in (
        _image(0, OWN, text=2, data=4 * PAGE_SIZE, npages=8),
        _image(1, "small", text=1, data=PAGE_SIZE + 1000, npages=2),
        _image(2, "large-bss", text=1, data=PAGE_SIZE + 1000, npages=514),
        _image(3, "written-data", text=1, data=6 * PAGE_SIZE, npages=6),
        _image(4, "large-text", text=514, data=4 * PAGE_SIZE, npages=8),
    )
}
"""Every image, by name."""

SEGMENT_OF = {segment.file: (image, segment) for image in IMAGES.values() for segment in image.segments}
"""The image and the segment to which each part of a file belongs, by the name of that part."""


@cache
def image_page(file: str, index: int) -> bytes:
    """Give the 4,096 bytes that page `index` of the part `file` of an image's file has there."""
    image, segment = SEGMENT_OF[file]
    tag = _TAG["text" if segment is image.text else "data"] | index % 7 << 3
    return b"".join(bytes([tag | (block + image.number) % 8]) * _BLOCK for block in range(8))


FILE_BACKED = tuple(_TAG)
"""The image windows whose pages come from the file in most images."""
