"""Where a kernel keeps the counts of its frames, found by watching its memory.

Somebody who writes a kernel knows that; the definition wants it in five lines, and this finds them. While a program gives
frames holders and takes them away again, the number of holders of each is known from the page tables. A count is a byte
(the lowest of its number) that follows: at each look it is that number, give or take a constant. Many bytes follow one
frame by chance, the number of processes for example. But counts of frames lie in an array: what follows frame f lies
`stride` × f from its beginning, with one stride for all frames that were watched, whose holders came and went at
different times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.guest.definition_values import KernelCounts
from harness.guest.ram import PAGE_SIZE, GuestRam
from harness.introspect.kernel_memory import KernelMemory
from harness.introspect.symbols import KernelFile, Symbol
from harness.program.trace import Frame

MOST_STRIDE = 512  # bytes of the largest record that is looked for
_WIDTHS = (4, 2, 1)
_BIASES = (0, 1)  # of the stored value below the holders: as they are, or one less
_LIKELY = 1 << 16  # a number above this is no count, but has something else in its upper bytes
_POINTER = 8
_MOST_WORDS = 64  # of an object that are taken for pointers
_DIRECT_MAP = 1 << 30  # a direct map begins at a multiple of this
_LEAST_DIRECT_MAP = 1 << 46  # and in the kernel's half of all addresses


class Diary:
    """A machine's memory at several moments: all of it at the first, then the pages that had changed."""

    def __init__(self) -> None:
        self._first = b""
        self._changes: list[dict[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._changes)

    def note(self, ram: GuestRam) -> None:
        """Keep what `ram` holds now."""
        if not self._changes:
            self._first = ram.bytes.tobytes()
            self._changes.append({})
            return
        changed = {}
        for pages in ram.used_pages():
            for page in pages:
                now = ram.bytes[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
                if now != self.at(page, len(self) - 1):
                    changed[page] = now.tobytes()
        self._changes.append(changed)

    def changed(self, moment: int) -> Sequence[int]:
        """Return the pages that had changed at `moment` since the one before."""
        return tuple(self._changes[moment])

    def at(self, page: int, moment: int) -> bytes | memoryview:
        """Return what `page` held at `moment`."""
        for changes in reversed(self._changes[: moment + 1]):
            if page in changes:
                return changes[page]
        return memoryview(self._first)[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]


@dataclass(frozen=True, slots=True)
class Found:
    """An array in memory: the count of frame f, less `bias`, lies in the byte `start` + `stride` × f of RAM."""

    start: int
    stride: int
    bias: int

    def place(self, frame: Frame) -> int:
        """Return where in RAM the lowest byte of the count of `frame` lies."""
        return self.start + self.stride * frame


def find_arrays(diary: Diary, holders: Mapping[Frame, Sequence[int]]) -> list[Found]:
    """Return the arrays that have the holders of each frame at each moment of the diary; the smallest stride first.

    `holders` has as many numbers for each frame as there are moments. Frames whose number never changes say nothing; of the
    others three are needed, for any two lie on some line.
    """
    telling = {frame: series for frame, series in holders.items() if len(set(series)) > 1}
    if len(telling) < 3:
        return []
    found: set[Found] = set()
    for bias in _BIASES:
        places = {frame: _followers(diary, series, bias) for frame, series in telling.items()}
        found.update(_lines(places, bias))
    return sorted(found, key=lambda each: (each.stride, each.start))


def _followers(diary: Diary, series: Sequence[int], bias: int) -> frozenset[int]:
    """Return the bytes of RAM that are `series` less `bias`, at each moment."""
    moves = next(moment for moment in range(1, len(series)) if series[moment] != series[moment - 1])
    following = []
    for page in diary.changed(moves):
        versions = [diary.at(page, moment) for moment in range(len(series))]
        places: list[int] = list(range(PAGE_SIZE))
        for count, version in sorted(zip(series, versions, strict=True), key=lambda each: -abs(each[0])):
            stored = (count - bias) & 0xFF
            places = [place for place in places if version[place] == stored]
        following += [page * PAGE_SIZE + place for place in places]
    return frozenset(following)


def _lines(places: Mapping[Frame, frozenset[int]], bias: int) -> Iterator[Found]:
    """Give each line through one place of every frame."""
    first, second, *others = sorted(places)
    for one in places[first]:
        for other in places[second]:
            stride, rest = divmod(other - one, second - first)
            if rest or not 0 < stride <= MOST_STRIDE:
                continue
            found = Found(one - stride * first, stride, bias)
            if all(found.place(frame) in places[frame] for frame in others):
                yield found


def width_of(found: Found, ram: GuestRam, frames: Sequence[Frame]) -> int:
    """Return how many bytes a count has: as many as there is room for, unless the numbers of some frames then are huge."""
    for width in _WIDTHS:
        aligned = found.start % width == 0 and found.stride % width == 0
        numbers = (ram.bytes[found.place(frame) : found.place(frame) + width] for frame in frames)
        if aligned and all(int.from_bytes(number, "little") < _LIKELY for number in numbers):
            return width
    return 1


def definitions_of(
    found: Found, ram: GuestRam, file: KernelFile, memory: KernelMemory, *, width: int
) -> Iterator[KernelCounts]:
    """Give the ways in which a definition may name the array that was found, the plainest first.

    Not all need to lead there: a kernel's pointers are not always to be followed without a direct map, and any number may
    look like a pointer.
    """
    counts = KernelCounts(
        "symbol", element=f"u{8 * width}", bias=found.bias, stride=found.stride if found.stride > width else 0
    )
    first = ram.start // PAGE_SIZE
    starts = [("pfn", found.start), *([("ram", found.place(first))] if first else [])]
    for name in (_arrays, _pointers_there, _labels):
        for index, start in starts:
            yield from name(replace(counts, index=index), start, found.stride, file, memory)


def _arrays(
    counts: KernelCounts, start: int, stride: int, file: KernelFile, memory: KernelMemory
) -> Iterator[KernelCounts]:
    """Give the objects that begin where the array does."""
    return _nearby(counts, start, stride, [each for each in file.symbols if each.size >= stride], memory)


def _labels(
    counts: KernelCounts, start: int, stride: int, file: KernelFile, memory: KernelMemory
) -> Iterator[KernelCounts]:
    """Give the names there that are of no object, such as the end of the kernel."""
    return _nearby(counts, start, stride, [each for each in file.symbols if not each.size], memory)


def _nearby(
    counts: KernelCounts, start: int, stride: int, symbols: Sequence[Symbol], memory: KernelMemory
) -> Iterator[KernelCounts]:
    places = [(memory.offset(symbol.address), symbol) for symbol in symbols]
    skips = [(start - place, -symbol.size, symbol.name) for place, symbol in places if place is not None]
    for skip, _, name in sorted(each for each in skips if 0 <= each[0] < stride):
        yield replace(counts, symbol=_pattern(name), offset=skip)


def _pointers_there(
    counts: KernelCounts, start: int, stride: int, file: KernelFile, memory: KernelMemory
) -> Iterator[KernelCounts]:
    """Give the pointers to the array: as the kernel's memory is known, and where that leads nowhere with a direct map."""
    for symbol in file.symbols:
        for at, pointer in _pointers(symbol, memory):
            named = replace(counts, symbol=_pattern(symbol.name), pointer=True, at=at)
            place = memory.offset(pointer)
            if place is not None and 0 <= start - place < stride:
                yield replace(named, offset=start - place)
            base, skip = divmod(pointer - start - memory.ram.start + stride - 1, _DIRECT_MAP)
            skip = stride - 1 - skip
            if base * _DIRECT_MAP >= _LEAST_DIRECT_MAP and skip >= 0:
                yield replace(named, offset=skip, direct_map=base * _DIRECT_MAP)


def _pointers(symbol: Symbol, memory: KernelMemory) -> Iterator[tuple[int, int]]:
    """Give what may be pointers in an object: how far in, and the address."""
    words = min(max(symbol.size // _POINTER, 1), _MOST_WORDS)
    content = memory.read(symbol.address, words * _POINTER)
    if content is None:
        return
    for at in range(0, len(content), _POINTER):
        if pointer := int.from_bytes(content[at : at + _POINTER], "little"):
            yield at, pointer


def _pattern(name: str) -> str:
    return f"^{re.escape(name)}$"
