"""One row per operation: how often it is drawn, what is drawn for it, and how that becomes a step.

The row's `resolve` turns its numbers (see `fields`) into a step of the program so far, or into nothing.
A new operation is one more function and one more entry of `ROWS`, here or in a module of its family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.program.image import IMAGES, OWN
from harness.program.ops import (
    Access,
    Crash,
    Exec,
    Exit,
    Fill,
    Fork,
    Handle,
    Load,
    Map,
    Mirror,
    Observe,
    Op,
    Print,
    Protect,
    Store,
    Unmap,
    Wait,
)
from harness.program.program import MAX_PROCESSES
from harness.program.units import PAGE_SIZE, Prot
from strategies import family, kernel_ops, vma_ops
from strategies.echo import Echo, has_echo
from strategies.fields import (
    ACTOR,
    CHILD,
    ECHOES,
    EXEC_IMAGE,
    EXECED,
    FATE,
    LENGTH,
    LONE,
    MAP_PROTS,
    MAP_SHAPE,
    PROTECT_PROTS,
    PROTECT_SHAPE,
    SPANS,
    SPOT,
    STATUSES,
    UNMAP_SHAPE,
    VALUE,
    WHERE,
    Row,
    byte_at,
    may_end,
    page_at,
    pick,
    range_at,
    rank_at,
)
from strategies.files import FILE_ROWS, MAP_KIND, MAP_KINDS, MIRROR_KIND, MIRRORED
from strategies.scene import Scene

# -------------------------------------------------------------------------------- one per operation


def _map(scene: Scene, process: int, where: int, shape: int, kind: int) -> Op:
    at = rank_at(scene, process, where, None)
    prot, span = divmod(shape, len(SPANS))
    chosen = pick(MAP_KINDS, kind)
    length = pick(SPANS, span)
    op = map_pages(scene, process, at, length.npages, pick(MAP_PROTS, prot) & ~chosen.never)
    pages = replace(op.pages, short=length.short % PAGE_SIZE)
    how = {field: getattr(chosen, field) for field in ("sharing", "backing", "placement", "populate")}
    return replace(op, pages=pages, **how)


def _mirror(scene: Scene, process: int, where: int, shape: int, kind: int) -> Op:
    at = rank_at(scene, process, where, None)
    prot, span = divmod(shape, len(SPANS))
    chosen = pick(MIRRORED, kind)
    op = map_pages(scene, process, at, pick(SPANS, span).npages, pick(MAP_PROTS, prot) & ~chosen.never)
    pages = replace(op.pages, npages=min(op.pages.npages, MOST_MIRRORED))
    return Mirror(process, pages, op.prot, chosen.sharing, chosen.backing)


MOST_MIRRORED = 16
"""The most pages of a mirror, in a wide window too: each is a mapping, of which a process has no end on Linux alone."""


def map_pages(scene: Scene, process: int, rank: int, npages: int, prot: Prot) -> Map:
    """Map at most `npages` pages from a rank on, as the scene has room for them."""
    op = Map(process, scene.room_for(rank, npages), prot)
    ranks = scene.space.ranks(op.pages)
    scene.layouts[process].update(dict.fromkeys(ranks, prot))
    scene.used.update(rank for rank in ranks if rank < scene.space.arena_size)
    return op


def _unmap(scene: Scene, process: int, where: int, span: int) -> Op:
    pages = range_at(scene, process, where, span)
    for rank in scene.space.ranks(pages):
        scene.layouts[process].pop(rank, None)
    return Unmap(process, pages)


def _protect(scene: Scene, process: int, where: int, shape: int) -> Op:
    layout = scene.layouts[process]
    prot, span = divmod(shape, len(SPANS))
    pages = range_at(scene, process, where, span, may_be_empty=True)
    op = Protect(process, pages, pick(PROTECT_PROTS, prot))
    for rank in scene.space.ranks(pages):
        if rank not in layout:
            break
        layout[rank] = op.prot
    return op


def _load(scene: Scene, process: int, spot: int) -> Op:
    return Load(process, byte_at(scene, process, spot, Prot.R))


def _store(scene: Scene, process: int, spot: int, value: int) -> Op:
    return Store(process, byte_at(scene, process, spot, Prot.W), value & 0xFF)


def _fill(scene: Scene, process: int, where: int, value: int) -> Op:
    return Fill(process, page_at(scene, process, where, Prot.W), value & 0xFF)


def _print(scene: Scene, process: int, spot: int, length: int) -> Op:
    at = byte_at(scene, process, spot, Prot.R)
    return Print(process, at, min(length, PAGE_SIZE - at.offset))


def _fork(scene: Scene, process: int, child: int) -> Op | None:
    if not scene.may_fork:
        return None
    return Fork(process, scene.add_child(process, child))


def _exec(scene: Scene, process: int, fate: int, image: int) -> Op | None:
    if process in scene.family.crowds or (fate < LONE and scene.alone_has_arena(process)):
        return None
    name = pick(EXECED, image)
    if not {pages.window for pages in IMAGES[name].windows} <= set(scene.limits.windows):
        name = OWN
    scene.layouts[process] = scene.space.image(name)
    return Exec(process, name)


def _exit(scene: Scene, process: int, fate: int) -> Op | None:
    return Exit(process, pick(STATUSES, fate)) if may_end(scene, process, Exit, fate) else None


def _crash(scene: Scene, process: int, where: int, fate: int) -> Op | None:
    if not may_end(scene, process, Crash, fate):
        return None
    access, need = pick(((Access.STORE, Prot.W), (Access.LOAD, Prot.R)), fate)
    return Crash(process, access, page_at(scene, process, where, need))


def _handle(scene: Scene, process: int, where: int, fate: int) -> Op | None:
    return Handle(process, page_at(scene, process, where, Prot.W)) if may_end(scene, process, Handle, fate) else None


def _wait(scene: Scene, wish: int) -> Op | None:
    child = scene.awaited(wish)
    if child is None:
        return None
    parent = scene.family.parent[child]
    assert parent is not None
    return Wait(parent, child)


def _observe(scene: Scene) -> Op | None:
    return None if scene.idle else Observe(0)


ROWS: tuple[Row, ...] = (
    Row(Store, 16, (ACTOR, SPOT, VALUE), _store),
    Row(Load, 7, (ACTOR, SPOT), _load),
    Row(Fork, 9, (ACTOR, CHILD), _fork),
    Row(Map, 4, (ACTOR, WHERE, MAP_SHAPE, MAP_KIND), _map),
    Row(Mirror, 1, (ACTOR, WHERE, MAP_SHAPE, MIRROR_KIND), _mirror),
    Row(Exit, 6, (ACTOR, FATE), _exit),
    Row(Protect, 3, (ACTOR, WHERE, PROTECT_SHAPE), _protect),
    Row(Unmap, 3, (ACTOR, WHERE, UNMAP_SHAPE), _unmap),
    Row(Fill, 2, (ACTOR, WHERE, VALUE), _fill),
    Row(Wait, 7, (CHILD,), _wait),
    Row(Observe, 3, (), _observe),
    Row(Print, 2, (ACTOR, SPOT, LENGTH), _print),
    Row(Exec, 2, (ACTOR, FATE, EXEC_IMAGE), _exec),
    Row(Crash, 2, (ACTOR, WHERE, FATE), _crash),
    Row(Handle, 1, (ACTOR, WHERE, FATE), _handle),
    *vma_ops.ROWS,
    *kernel_ops.ROWS,
    *family.ROWS,
    *FILE_ROWS,
)
"""Every operation of `harness.program.ops.OPS` (a test checks that), in the order of simplicity."""

ROW_OF: dict[type[Op], Row] = {row.op: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Raw:
    """A drawn operation: its row, and the number of each of the row's fields."""

    row: Row
    numbers: tuple[int, ...]

    @property
    def echo(self) -> Echo:
        """What is to be touched before and after the step, where the row names who acts."""
        acts = ACTOR in self.row.fields[:1] and has_echo(self.row.op)
        return pick(ECHOES, self.numbers[0] // MAX_PROCESSES) if acts else Echo()

    def resolve(self, scene: Scene) -> Op | None:
        """Turn it into a step of the program so far, or into nothing."""
        numbers: list[Any] = list(self.numbers)
        if ACTOR in self.row.fields[:1]:
            actor = scene.actor(numbers[0] % MAX_PROCESSES)
            if actor is None:
                return None
            numbers[0] = actor
        return self.row.resolve(scene, *numbers)


def simplest(op: type[Op], *, actor: int = ACTOR.least, fate: int = FATE.least) -> Raw:
    """Give the raw operation of the least numbers, but for the acting process's slot and its fate."""
    row = ROW_OF[op]
    chosen = {ACTOR: actor, FATE: fate}
    return Raw(row, tuple(chosen.get(each, each.least) for each in row.fields))
