"""Rows for the operations in which the kernel stores to memory, or holds on to a page of it.

Their places are chosen so that a byte too many shows: odd lengths, at the ends of pages and across them.
"""

from __future__ import annotations

from harness.program.ops import (
    ANSWERS,
    STATUS_WORD,
    Ask,
    Deliver,
    Feed,
    Fix,
    Force,
    Op,
    Peek,
    Pin,
    Poke,
    Query,
    Reap,
    Receive,
    Splice,
    Unfix,
    Unpin,
    Via,
)
from harness.program.units import PAGE_SIZE, WINDOW_BY_NAME, Address, Prot
from strategies.fields import ACTOR, CHILD, LENGTH, SPOT, VALUE, WHERE, Field, Row, byte_at, page_at, pick
from strategies.files import EXTENT, OFFSETS, of_file
from strategies.scene import Scene

LENGTHS = (1, 2, 3, 5, 7, 8, 9, 13, 17, 31, 64, 100, 511, 513, 1000, PAGE_SIZE)
"""How many bytes are received."""

FROM_START = (0, 1, 3, 7)
FROM_END = (0, 1)
"""Bytes that are left before a store, from the start of the page, or behind it, up to the page's end."""

PLACES = 8
"""How many places there are for a store: those above, half of it on the next page, and all but its first byte."""

PLACE = Field(0, PLACES - 1)
RECEIVE_SHAPE = Field(0, len(LENGTHS) * PLACES * len(Via) - 1)  # a length in the low bits, a place, a way above
ASK_SHAPE = Field(0, 8 * PLACES - 1)  # a query in the low bits, a place above them


def _offset(place: int, length: int) -> int:
    """Give the offset, in bytes into the page, at which a store of `length` bytes begins."""
    if place < len(FROM_START):
        return FROM_START[place]
    place -= len(FROM_START)
    if place < len(FROM_END):
        return max(PAGE_SIZE - length - FROM_END[place], 0)
    return PAGE_SIZE - 1 if place > len(FROM_END) else PAGE_SIZE - (length + 1) // 2


def _place_for(scene: Scene, process: int, where: int, place: int, length: int) -> Address:
    """Find a place for a store of `length` bytes, which does not reach beyond the window."""
    page = page_at(scene, process, where, Prot.W)
    offset = _offset(place % PLACES, length)
    if page.index + 1 == WINDOW_BY_NAME[page.window].npages:
        offset = min(offset, PAGE_SIZE - length)
    return Address(page.window, page.index, offset)


def _receive(scene: Scene, process: int, where: int, shape: int, value: int) -> Op:
    shape, number = divmod(shape, len(LENGTHS))
    via, place = divmod(shape, PLACES)
    length = LENGTHS[number]
    return Receive(process, pick((*Via,), via), _place_for(scene, process, where, place, length), length, value & 0xFF)


def _ask(scene: Scene, process: int, where: int, shape: int) -> Op:
    place, number = divmod(shape, 8)
    query = pick((*Query,), number)
    return Ask(process, query, _place_for(scene, process, where, place, max(1, len(ANSWERS[query]))))


def _reap(scene: Scene, wish: int, where: int, place: int) -> Op | None:
    child = scene.awaited(wish)
    if child is None:
        return None
    parent = scene.family.parent[child]
    assert parent is not None
    return Reap(parent, child, _place_for(scene, parent, where, place, STATUS_WORD))


def _force(scene: Scene, process: int, spot: int, value: int) -> Op:
    """Store a byte, or where that is the last of a page some more, half of them on the next page."""
    at = byte_at(scene, process, spot, Prot.NONE)
    return Force(process, at, value & 0xFF, _over_the_end(at))


def _poke(scene: Scene, process: int, other: int, spot: int, value: int) -> Op | None:
    victim = scene.pokable(process, other)
    if victim is None:
        return None
    at = byte_at(scene, victim, spot, Prot.NONE)
    return Poke(process, victim, at, value & 0xFF, _over_the_end(at))


def _peek(scene: Scene, process: int, spot: int, length: int) -> Op:
    at = byte_at(scene, process, spot, Prot.NONE)
    return Peek(process, at, min(length, _room(at)))


def _over_the_end(at: Address) -> int:
    """Give how many bytes to store at `at`: nine at the last bytes of a page, if another page follows, else one."""
    return min(9, _room(at)) if at.offset >= PAGE_SIZE - 8 else 1


def _room(at: Address) -> int:
    """Give how many bytes there are from `at` to the end of its window."""
    return (WINDOW_BY_NAME[at.window].npages - at.index) * PAGE_SIZE - at.offset


def _pin(scene: Scene, process: int, spot: int) -> Op:
    return Pin(process, byte_at(scene, process, spot, Prot.R))


def _unpin(scene: Scene, process: int) -> Op | None:
    """Read what was pinned; from an empty pipe only where nothing else is asked for."""
    pinned = sum(isinstance(op, Pin | Splice | Feed) - isinstance(op, Unpin) for op in scene.steps)
    return Unpin(process) if pinned > 0 or Unpin in scene.missing else None


def _splice(_scene: Scene, process: int, extent: int) -> Op:
    return Splice(process, *of_file(extent, OFFSETS))


def _feed(_scene: Scene, process: int, value: int) -> Op:
    return Feed(process, value & 0xFF)


def _fix(scene: Scene, process: int, where: int) -> Op:
    return Fix(process, page_at(scene, process, where, Prot.W))


def _deliver(scene: Scene, process: int, spot: int, value: int) -> Op | None:
    """Store to the page that was registered last; to any other only where nothing else is asked for."""
    fixed = [op.at for op in scene.steps if isinstance(op, Fix)]
    if not fixed and Deliver not in scene.missing:
        return None
    at = byte_at(scene, process, spot, Prot.W)
    page = fixed[-1] if fixed else at
    return Deliver(process, Address(page.window, page.index, at.offset), value & 0xFF)


def _unfix(scene: Scene, process: int) -> Op | None:
    fixed = any(isinstance(op, Fix) for op in scene.steps)
    return Unfix(process) if fixed or Unfix in scene.missing else None


ROWS: tuple[Row, ...] = (
    Row(Receive, 1, (ACTOR, WHERE, RECEIVE_SHAPE, VALUE), _receive),
    Row(Ask, 1, (ACTOR, WHERE, ASK_SHAPE), _ask),
    Row(Reap, 5, (CHILD, WHERE, PLACE), _reap),
    Row(Force, 1, (ACTOR, SPOT, VALUE), _force),
    Row(Poke, 1, (ACTOR, CHILD, SPOT, VALUE), _poke),
    Row(Peek, 1, (ACTOR, SPOT, LENGTH), _peek),
    Row(Pin, 2, (ACTOR, SPOT), _pin),
    Row(Splice, 1, (ACTOR, EXTENT), _splice),
    Row(Feed, 1, (ACTOR, VALUE), _feed),
    Row(Unpin, 7, (ACTOR,), _unpin),
    Row(Fix, 1, (ACTOR, WHERE), _fix),
    Row(Deliver, 7, (ACTOR, SPOT, VALUE), _deliver),
    Row(Unfix, 9, (ACTOR,), _unfix),
)
"""The rows of this family, in the order of simplicity."""
