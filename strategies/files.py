"""Files of programs: which are mapped, and what is done to them by read, write, truncate, unlink and sync."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from harness.program.files import FILES
from harness.program.ops import (
    Backing,
    Copyrange,
    Op,
    Opened,
    Placement,
    Populate,
    Punch,
    Read,
    Readv,
    Sendfile,
    Sharing,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.program.units import PAGE_SIZE, WINDOW_BY_NAME, Address, Prot
from strategies.fields import ACTOR, SPOT, UNMAP_SHAPE, WHERE, Field, Row, byte_at, pick, range_at, spread
from strategies.scene import Scene

T = TypeVar("T")

_PRIVATE, _SHARED = Sharing.PRIVATE, Sharing.SHARED


@dataclass(frozen=True, slots=True)
class MapKind:
    """What is mapped, how, and where; `never` is the right that it is not asked for, whatever protection was drawn."""

    sharing: Sharing = _PRIVATE
    backing: Backing = Backing.ANON
    never: Prot = Prot.NONE
    placement: Placement = Placement.FIXED
    populate: Populate = Populate.NO


MAP_KINDS: tuple[MapKind, ...] = spread(
    (58, MapKind()),
    (12, MapKind(_SHARED)),
    (6, MapKind(_SHARED, Backing("shm"))),
    (12, MapKind(_SHARED, Backing("f"))),
    (10, MapKind(_PRIVATE, Backing("f"))),
    (6, MapKind(_SHARED, Backing("f", 1))),
    (6, MapKind(_PRIVATE, Backing("f", 2))),
    (4, MapKind(_SHARED, Backing("m"))),
    (2, MapKind(_PRIVATE, Backing("m", 1))),
    (2, MapKind(_SHARED, Backing("f", 3))),
    (2, MapKind(_PRIVATE, Backing("g"))),
    (2, MapKind(_SHARED, Backing("g", 1))),
    (3, MapKind(_PRIVATE, Backing("stack"))),
    (2, MapKind(_SHARED, Backing("f", opened=Opened.READ), never=Prot.W)),
    (1, MapKind(_SHARED, Backing("f", opened=Opened.READ))),
    (1, MapKind(_PRIVATE, Backing("f", opened=Opened.READ))),
    (1, MapKind(_PRIVATE, Backing("g", opened=Opened.WRITE), never=Prot.W)),
    (2, MapKind(placement=Placement.NOREPLACE)),
    (1, MapKind(_SHARED, Backing("f"), placement=Placement.NOREPLACE)),
    (1, MapKind(placement=Placement.HINT)),
    (4, MapKind(populate=Populate.YES)),
    (1, MapKind(_SHARED, populate=Populate.YES)),
    (2, MapKind(_SHARED, Backing("f", 1), populate=Populate.YES)),
    (3, MapKind(_PRIVATE, Backing("f", 2), populate=Populate.YES)),
    (1, MapKind(_PRIVATE, Backing("stack"), populate=Populate.YES)),
)
"""Half of it is private anonymous memory, and the files are mostly one, so that mappings meet in it."""

_AS_EVER = (Placement.FIXED, Populate.NO)
MIRRORED = tuple(kind for kind in MAP_KINDS if kind.backing.name in FILES and (kind.placement, kind.populate) == _AS_EVER)
"""What is mapped in many places at once: files, as often as they are mapped."""

FILE_NAMES = spread((11, "f"), (3, "m"), (2, "g"))
OFFSETS = spread((4, 0), (3, PAGE_SIZE), (2, 2 * PAGE_SIZE), (2, 3 * PAGE_SIZE), (1, 100), (1, PAGE_SIZE - 6),
                 (1, 2 * PAGE_SIZE + 3000), (1, 3 * PAGE_SIZE + 990), (1, 5 * PAGE_SIZE - 1))  # fmt: skip
"""Where reads and writes begin, in bytes: at pages, before their ends, and around the end of f."""

LENGTHS = spread((3, 1), (2, 17), (2, 8), (2, 600), (2, PAGE_SIZE), (1, 2), (1, 512), (1, 2500), (2, 100))
"""How many bytes are read and written."""

SIZES = spread((2, 0), (3, PAGE_SIZE), (2, PAGE_SIZE + 904), (1, 2 * PAGE_SIZE), (1, 2 * PAGE_SIZE - 1),
               (2, 3 * PAGE_SIZE + 1000), (1, 3 * PAGE_SIZE + 500), (2, 4 * PAGE_SIZE), (1, 5 * PAGE_SIZE),
               (1, 100))  # fmt: skip
"""What files are truncated to, in bytes."""

HOLES = spread((4, PAGE_SIZE), (2, 2 * PAGE_SIZE), (1, 4 * PAGE_SIZE), (2, 100), (1, PAGE_SIZE + 1000),
               (1, PAGE_SIZE - 1), (1, 0))  # fmt: skip
"""How many bytes are punched out of a file; none at all is refused."""

MIRROR_KIND = Field(0, len(MIRRORED) - 1)
MAP_KIND = Field(0, len(MAP_KINDS) - 1)
EXTENT = Field(0, len(FILE_NAMES) * len(OFFSETS) - 1)  # a file in the low bits, an offset above
BULK = Field(0, len(LENGTHS) - 1)
HOLE = Field(0, len(HOLES) - 1)
NEW_SIZE = Field(0, len(FILE_NAMES) * len(SIZES) - 1)  # a file in the low bits, a size above
FILE = Field(0, len(FILE_NAMES) - 1)


def of_file(number: int, table: tuple[T, ...]) -> tuple[str, T]:
    """Resolve a number that holds a file, in its low bits, and an element of `table`."""
    above, file = divmod(number, len(FILE_NAMES))
    return pick(FILE_NAMES, file), pick(table, above)


def _clipped(at: Address, bulk: int) -> int:
    """Give a length with which a transfer at `at` stays in its window."""
    room = (WINDOW_BY_NAME[at.window].npages - at.index) * PAGE_SIZE - at.offset
    return min(pick(LENGTHS, bulk), room)


def _read(scene: Scene, process: int, spot: int, extent: int, bulk: int) -> Op:
    at = byte_at(scene, process, spot, Prot.W)
    return Read(process, *of_file(extent, OFFSETS), at, _clipped(at, bulk))


def _readv(scene: Scene, process: int, spot: int, extent: int, then: int) -> Op:
    at, second = byte_at(scene, process, spot, Prot.W), byte_at(scene, process, then, Prot.NONE)
    file, offset = of_file(extent, OFFSETS)
    return Readv(process, file, offset, at, second, min(_clipped(at, extent), _clipped(second, extent)))


def _write(scene: Scene, process: int, spot: int, extent: int, bulk: int) -> Op:
    at = byte_at(scene, process, spot, Prot.R)
    return Write(process, *of_file(extent, OFFSETS), at, _clipped(at, bulk))


def _sendfile(_scene: Scene, process: int, extent: int, into: int, bulk: int) -> Op:
    return Sendfile(process, *of_file(extent, OFFSETS), *of_file(into, OFFSETS), pick(LENGTHS, bulk))


def _copyrange(_scene: Scene, process: int, extent: int, into: int, bulk: int) -> Op:
    return Copyrange(process, *of_file(extent, OFFSETS), *of_file(into, OFFSETS), pick(LENGTHS, bulk))


def _truncate(_scene: Scene, process: int, new_size: int) -> Op:
    return Truncate(process, *of_file(new_size, SIZES))


def _punch(_scene: Scene, process: int, extent: int, hole: int) -> Op:
    file, start = of_file(extent, OFFSETS)
    return Punch(process, file, start, start + pick(HOLES, hole))


def _unlink(_scene: Scene, process: int, file: int) -> Op:
    name = pick(FILE_NAMES, file)
    return Unlink(process, "f" if name == "m" else name)  # a memfd has no name


def _sync(scene: Scene, process: int, where: int, span: int) -> Op:
    return Sync(process, range_at(scene, process, where, span, may_be_empty=True))


FILE_ROWS: tuple[Row, ...] = (
    Row(Write, 1, (ACTOR, SPOT, EXTENT, BULK), _write),
    Row(Read, 1, (ACTOR, SPOT, EXTENT, BULK), _read),
    Row(Readv, 1, (ACTOR, SPOT, EXTENT, SPOT), _readv),
    Row(Sendfile, 1, (ACTOR, EXTENT, EXTENT, BULK), _sendfile),
    Row(Copyrange, 1, (ACTOR, EXTENT, EXTENT, BULK), _copyrange),
    Row(Truncate, 1, (ACTOR, NEW_SIZE), _truncate),
    Row(Punch, 1, (ACTOR, EXTENT, HOLE), _punch),
    Row(Sync, 1, (ACTOR, WHERE, UNMAP_SHAPE), _sync),
    Row(Unlink, 1, (ACTOR, FILE), _unlink),
)
"""The operations on files, in the order of simplicity."""
