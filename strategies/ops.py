"""One row per operation: how often it is drawn, what is drawn for it, and how that becomes a step.

A *raw* operation is a row and a few small integers, each valid whatever the others are and whatever
comes before. The row's `resolve` turns it into a step of the program so far, or into nothing. Zero is
the simplest value of every field, and resolves to p0, window a, page 0, offset 0 where the rest allows.

A new operation is one more function and one more entry of `ROWS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from harness.program.ops import (
    MAX_LENGTH,
    Access,
    Crash,
    Exec,
    Exit,
    Fill,
    Fork,
    Load,
    Map,
    Observe,
    Op,
    Print,
    Protect,
    Store,
    Unmap,
    Wait,
)
from harness.program.program import MAX_PROCESSES
from harness.program.units import PAGE_SIZE, Address, Prot
from strategies.scene import Scene

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """Where an operation would like to be: `page` counts from the program's origin, or is in `image`.

    A steered wish goes to the nearest page on which the operation can succeed; others are taken as
    they are, and so meet holes and forbidden pages.
    """

    page: int = 0
    image: str = ""
    steered: bool = True


def _spread(*weighted: tuple[int, T]) -> tuple[T, ...]:
    return tuple(value for weight, value in weighted for _ in range(weight))


_R, _W, _X = Prot.R, Prot.W, Prot.X
_HOT = ((26, 0), (17, 1), (11, 2), (9, 3), (6, 4), (5, 5), (4, 6), (4, 7), (2, 8), (2, 9), (2, 10),
        (2, 12), (3, 15), (4, 16), (2, 17), (1, 20), (1, 33), (1, 48))  # fmt: skip
_WILD = (40, 20, 16, 15, 7, 4, 4, 3, 3, 2, 2, 1, 1, 1, 0, 0)

WISHES: tuple[Wish, ...] = (
    *_spread(*((weight, Wish(page)) for weight, page in _HOT)),
    *(Wish(page, image="data", steered=False) for page in (0, 1, 2, 3)),
    *(Wish(page, image="bss", steered=False) for page in (0, 1, 2, 3)),
    *(Wish(page, image="text", steered=False) for page in (0, 1)),
    *(Wish(page, steered=False) for page in _WILD),
)
"""What the field `WHERE` means. A few hot pages, so that processes meet; an eighth goes wild, and half
of that meets a hole or a forbidden page."""

OFFSETS = _spread((9, 0), (2, PAGE_SIZE - 1), (1, 1), (1, 511), (1, 512), (1, 2048), (1, PAGE_SIZE - 8))
"""Bytes into a page: its ends, and the lines at which a partial copy would stop."""

SPANS = _spread((4, 1), (3, 2), (2, 3), (3, 4), (1, 6), (2, 8), (1, 16))
"""Lengths of ranges, in pages."""

MAP_PROTS = _spread((12, _R | _W), (2, _R), (1, Prot.NONE), (1, _R | _X), (1, _R | _W | _X), (1, _W))
PROTECT_PROTS = _spread((5, _R), (5, _R | _W), (3, Prot.NONE), (1, _R | _X), (1, _R | _W | _X), (1, _W), (1, _X))
STATUSES = (0, 1, 2, 7, 42, 127, 128, 255)
LONE = 7 * len(STATUSES)
"""A fate from here on up (one in eight) ends even the last live process, and with it the program; and
lets even the last process that has mappings lose them to exec."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One integer of a raw operation, `least` to `most`. The least is the simplest.

    Hypothesis makes most of its examples by copying one value over another that was drawn from a like
    strategy. Two of `integers()` are always alike, two of `sampled_from()` only with equal elements: so it
    is a page that is copied over a page, and never over the kind of an operation.
    """

    least: int
    most: int
    drawn: st.SearchStrategy[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the strategy once, for all draws."""
        object.__setattr__(self, "drawn", st.sampled_from(range(self.least, self.most + 1)))


# Where one number holds two, the lower part has a power of two of values, since the shrinker clears high
# bits as one step. It is one number because a copy of half an operand mostly changes nothing.
ACTOR = Field(0, MAX_PROCESSES - 1)
CHILD = Field(0, MAX_PROCESSES - 1)
WHERE = Field(0, len(WISHES) - 1)
SPOT = Field(0, len(WISHES) * len(OFFSETS) - 1)  # WHERE in the low bits, and an offset above them
VALUE = Field(1, 255)  # not 0: it could not be told from a fresh page
LENGTH = Field(1, MAX_LENGTH)
MAP_SHAPE = Field(0, len(SPANS) * len(MAP_PROTS) - 1)  # a span in the low bits, a protection above
PROTECT_SHAPE = Field(0, len(SPANS) * len(PROTECT_PROTS) - 1)
UNMAP_SHAPE = Field(0, len(SPANS) - 1)
FATE = Field(0, LONE + len(STATUSES) - 1)


def pick(table: tuple[T, ...], number: int) -> T:
    """Look a field's number up; any number will do."""
    return table[number % len(table)]


# ------------------------------------------------------------------------------ places and ends


def _rank(scene: Scene, process: int, where: int, need: Prot | None) -> int:
    """Resolve a `WHERE`; `need` is what a steered wish must find there, None where anything will do."""
    wish = pick(WISHES, where)
    if wish.image:
        rank = scene.space.rank_of.get((wish.image, wish.page))
        if rank is not None:
            return rank
    rank = scene.space.rank(wish.page)
    return scene.find(process, rank, need) if need is not None and wish.steered else rank


def _page(scene: Scene, process: int, where: int, need: Prot) -> Address:
    return scene.address(_rank(scene, process, where, need))


def _byte(scene: Scene, process: int, spot: int, need: Prot) -> Address:
    offset, where = divmod(spot, len(WISHES))
    return scene.address(_rank(scene, process, where, need), pick(OFFSETS, offset))


def _may_end(scene: Scene, op: type[Op], fate: int) -> bool:
    """Whether a process may end here; the last one only where nothing is left to do and fate says so."""
    if not scene.alone:
        return True
    done = len(scene.steps) + 1 >= scene.limits.min_steps and all(each is op for each in scene.missing)
    return done and fate >= LONE


# -------------------------------------------------------------------------------- one per operation


def _map(scene: Scene, process: int, where: int, shape: int) -> Op:
    rank = _rank(scene, process, where, None)
    prot, span = divmod(shape, len(SPANS))
    return map_pages(scene, process, rank, pick(SPANS, span), pick(MAP_PROTS, prot))


def map_pages(scene: Scene, process: int, rank: int, npages: int, prot: Prot) -> Map:
    """Map at most `npages` pages from a rank on, as the scene has room for them."""
    op = Map(process, scene.room_for(rank, npages), prot)
    ranks = scene.space.ranks(op.pages)
    scene.layouts[process].update(dict.fromkeys(ranks, prot))
    scene.used.update(rank for rank in ranks if rank < scene.space.arena_size)
    return op


def _unmap(scene: Scene, process: int, where: int, span: int) -> Op:
    pages = scene.pages_from(_rank(scene, process, where, Prot.NONE), pick(SPANS, span))
    for rank in scene.space.ranks(pages):
        scene.layouts[process].pop(rank, None)
    return Unmap(process, pages)


def _protect(scene: Scene, process: int, where: int, shape: int) -> Op:
    layout = scene.layouts[process]
    prot, span = divmod(shape, len(SPANS))
    pages = scene.pages_from(_rank(scene, process, where, Prot.NONE), pick(SPANS, span))
    op = Protect(process, pages, pick(PROTECT_PROTS, prot))
    for rank in scene.space.ranks(pages):
        if rank not in layout:
            break
        layout[rank] = op.prot
    return op


def _load(scene: Scene, process: int, spot: int) -> Op:
    return Load(process, _byte(scene, process, spot, _R))


def _store(scene: Scene, process: int, spot: int, value: int) -> Op:
    return Store(process, _byte(scene, process, spot, _W), value & 0xFF)


def _fill(scene: Scene, process: int, where: int, value: int) -> Op:
    return Fill(process, _page(scene, process, where, _W), value & 0xFF)


def _print(scene: Scene, process: int, spot: int, length: int) -> Op:
    at = _byte(scene, process, spot, _R)
    return Print(process, at, min(length, PAGE_SIZE - at.offset))


def _fork(scene: Scene, process: int, child: int) -> Op | None:
    if not scene.may_fork:
        return None
    return Fork(process, scene.add_child(process, child))


def _exec(scene: Scene, process: int, fate: int) -> Op | None:
    if fate < LONE and scene.alone_has_arena(process):
        return None
    scene.layouts[process] = scene.space.image()
    return Exec(process)


def _exit(scene: Scene, process: int, fate: int) -> Op | None:
    return Exit(process, pick(STATUSES, fate)) if _may_end(scene, Exit, fate) else None


def _crash(scene: Scene, process: int, where: int, fate: int) -> Op | None:
    if not _may_end(scene, Crash, fate):
        return None
    access, need = pick(((Access.STORE, _W), (Access.LOAD, _R)), fate)
    return Crash(process, access, _page(scene, process, where, need))


def _wait(scene: Scene, wish: int) -> Op | None:
    child = scene.reapable(wish)
    if child is None:
        return None
    parent = scene.family.parent[child]
    assert parent is not None
    return Wait(parent, child)


def _observe(scene: Scene) -> Op | None:
    return None if scene.idle else Observe(0)


@dataclass(frozen=True, slots=True)
class Row:
    """How one operation is drawn.

    `weight` is relative to the other rows'; `fields` are the raw operation's integers (at most four:
    the shrinker deletes up to five choices in a row, and the kind is one); `resolve` takes the scene and
    these integers, the acting process in the place of `ACTOR`, and gives the step, already entered in
    the scene's layouts, or None for no step.
    """

    op: type[Op]
    weight: int
    fields: tuple[Field, ...]
    resolve: Callable[..., Op | None]


ROWS: tuple[Row, ...] = (
    Row(Store, 22, (ACTOR, SPOT, VALUE), _store),
    Row(Load, 15, (ACTOR, SPOT), _load),
    Row(Fork, 14, (ACTOR, CHILD), _fork),
    Row(Map, 7, (ACTOR, WHERE, MAP_SHAPE), _map),
    Row(Exit, 9, (ACTOR, FATE), _exit),
    Row(Protect, 6, (ACTOR, WHERE, PROTECT_SHAPE), _protect),
    Row(Unmap, 5, (ACTOR, WHERE, UNMAP_SHAPE), _unmap),
    Row(Fill, 5, (ACTOR, WHERE, VALUE), _fill),
    Row(Wait, 9, (CHILD,), _wait),
    Row(Observe, 5, (), _observe),
    Row(Print, 4, (ACTOR, SPOT, LENGTH), _print),
    Row(Exec, 3, (ACTOR, FATE), _exec),
    Row(Crash, 2, (ACTOR, WHERE, FATE), _crash),
)
"""Every operation of `harness.program.ops.OPS` (a test checks that), in the order of simplicity."""

ROW_OF: dict[type[Op], Row] = {row.op: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Raw:
    """A drawn operation: its row, and the number of each of the row's fields."""

    row: Row
    numbers: tuple[int, ...]

    def resolve(self, scene: Scene) -> Op | None:
        """Turn it into a step of the program so far, or into nothing."""
        numbers: list[Any] = list(self.numbers)
        if ACTOR in self.row.fields[:1]:
            actor = scene.actor(numbers[0])
            if actor is None:
                return None
            numbers[0] = actor
        return self.row.resolve(scene, *numbers)


def simplest(op: type[Op], *, actor: int = ACTOR.least, fate: int = FATE.least) -> Raw:
    """Give the raw operation of the least numbers, but for the acting process's slot and its fate."""
    row = ROW_OF[op]
    chosen = {ACTOR: actor, FATE: fate}
    return Raw(row, tuple(chosen.get(each, each.least) for each in row.fields))
