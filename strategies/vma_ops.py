"""The rows of the operations that change what is mapped, beyond map, unmap and protect."""

from __future__ import annotations

from dataclasses import replace

from harness.program.image import FILE_BACKED
from harness.program.ops import Advise, Brk, Misuse, Op, Remap, Roam, Scratch, Try
from harness.program.program import BELOW_HEAP
from harness.program.units import HEAP, PAGE_SIZE, WINDOW_BY_NAME, Address, PageRange, Prot
from strategies.fields import (
    ACTOR,
    ADVICE,
    ADVISE_SHAPE,
    BREAK,
    MISUSE,
    NPAGES,
    OFFSETS,
    REMAP_SHAPE,
    RESIZES,
    SPANS,
    WHERE,
    Row,
    pick,
    range_at,
    range_from,
    rank_at,
)
from strategies.scene import Scene


def _remap(scene: Scene, process: int, where: int, shape: int, to: int) -> Op:
    resize, span = divmod(shape, len(SPANS))
    stays, growth = pick(RESIZES, resize)
    pages = range_at(scene, process, where, span, may_be_empty=True)
    npages = max(1, pages.npages + growth)
    at = rank_at(scene, process, to, None)
    if stays or pages.window in FILE_BACKED:
        at = scene.space.rank_of[pages.window, pages.first]
    elif WINDOW_BY_NAME[pages.window].watched:
        at = _opposite(scene, pages)
    op = Remap(process, pages, replace(_room(scene, at, npages), short=pages.short % PAGE_SIZE))
    _enter(scene, op)
    return op


def _roam(scene: Scene, process: int, where: int, shape: int, to: int) -> Op | None:
    resize, span = divmod(shape, len(SPANS))
    pages = range_at(scene, process, where, span, may_be_empty=True)
    if pages.window in FILE_BACKED:  # they stay where they are
        pages = range_from(scene, scene.space.rank(where), span, may_be_empty=True)
    npages = max(1, pages.npages + pick(RESIZES, resize)[1])
    ranks = scene.space.ranks(replace(pages, short=0))
    behind = scene.space.rank(ranks[0] + len(ranks) + max(0, npages - pages.npages))
    at = _opposite(scene, pages) if WINDOW_BY_NAME[pages.window].watched else rank_at(scene, process, to, None)
    for rank in (at, behind):
        room = replace(_room(scene, rank, npages), short=pages.short % PAGE_SIZE)
        op = Roam(process, pages, room)
        if not op.may_meet and pages.window not in FILE_BACKED:
            _enter(scene, op)
            return op
    return None


def _opposite(scene: Scene, pages: PageRange) -> int:
    """Give the page of the other wide window where what is moved there is watched as it was here; else where it is."""
    there = {"w": "v", "v": "w"}[pages.window]
    return scene.space.rank_of.get((there, pages.first), scene.space.rank_of[pages.window, pages.first])


def _room(scene: Scene, rank: int, npages: int) -> PageRange:
    """Take at least one page, used before or not, and as many as there is room for."""
    pages = scene.room_for(rank, npages)
    window = WINDOW_BY_NAME[pages.window]
    if window.watched:
        whole = replace(pages, npages=min(npages, window.npages - pages.first))
        return whole if scene.has_room_for(whole) else replace(pages, npages=1)
    return pages if pages.npages else scene.pages_from(rank, 1)


def _enter(scene: Scene, op: Remap) -> None:
    """Note where the pages are now, if all of them can have been moved; else that nothing has happened."""
    layout = scene.layouts[op.process]
    old, new = scene.space.ranks(op.pages), scene.space.ranks(op.to)
    if not old:
        scene.used.update(rank for rank in new if rank < scene.space.arena_size)
        return
    if not all(rank in layout for rank in old) or (not op.in_place and set(old) & set(new)):
        return
    if op.in_place and any(rank in layout for rank in new[len(old) :]):
        return
    prots = [layout.pop(rank) for rank in old]
    layout.update((rank, prots[min(i, len(prots) - 1)]) for i, rank in enumerate(new))
    scene.used.update(rank for rank in new if rank < scene.space.arena_size)


def _advise(scene: Scene, process: int, where: int, shape: int) -> Op:
    advice, span = divmod(shape, len(SPANS))
    return Advise(process, range_at(scene, process, where, span, may_be_empty=True), pick(ADVICE, advice))


def _brk(scene: Scene, process: int, to: int) -> Op | None:
    if HEAP.name not in scene.limits.windows:
        return None
    offset, page = divmod(to, HEAP.npages)
    if page == HEAP.npages - 1 and BELOW_HEAP.window in scene.limits.windows:
        return Brk(process, BELOW_HEAP)
    op = Brk(process, Address(HEAP.name, page // 2, pick(OFFSETS, offset)))
    layout = scene.layouts[process]
    for index in range(HEAP.npages):
        rank = scene.space.rank_of[HEAP.name, index]
        if index < op.at.index + (op.at.offset > 0):
            layout.setdefault(rank, Prot.R | Prot.W)
        else:
            layout.pop(rank, None)
    return op


def _scratch(_scene: Scene, process: int, npages: int) -> Op:
    return Scratch(process, npages)


def _try(scene: Scene, process: int, where: int, misuse: int) -> Op:
    pages = scene.pages_from(rank_at(scene, process, where, Prot.NONE), 2)
    return Try(process, pick(tuple(Misuse), misuse), pages)


ROWS: tuple[Row, ...] = (
    Row(Remap, 1, (ACTOR, WHERE, REMAP_SHAPE, WHERE), _remap),
    Row(Roam, 1, (ACTOR, WHERE, REMAP_SHAPE, WHERE), _roam),
    Row(Advise, 2, (ACTOR, WHERE, ADVISE_SHAPE), _advise),
    Row(Brk, 1, (ACTOR, BREAK), _brk),
    Row(Scratch, 1, (ACTOR, NPAGES), _scratch),
    Row(Try, 1, (ACTOR, WHERE, MISUSE), _try),
)
"""The operations of this family, in the order of simplicity."""
