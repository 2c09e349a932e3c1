"""The rows of operations that make processes which share memory."""

from __future__ import annotations

from harness.program.ops import (
    MAX_CROWD,
    MAX_THREADS,
    Clone,
    Crowd,
    Disperse,
    Exit,
    Fork,
    Handover,
    Kill,
    Leader,
    Limit,
    Op,
    Refuse,
    Repeat,
    Starve,
    Threads,
    Throng,
    Vfork,
    Wait,
)
from strategies.fields import ACTOR, CHILD, UNMAP_SHAPE, WHERE, Field, Row, pick, range_at
from strategies.scene import Scene


def _vfork(scene: Scene, process: int, child: int) -> Op | None:
    """Vforks do not nest where somebody has to hand over yet: nobody could, until all but the first have ended."""
    nests = Handover in scene.missing and process in scene.family.suspended.values()
    if not scene.may_fork or nests:
        return None
    return Vfork(process, scene.add_child(process, child, shares=True))


def _clone(scene: Scene, process: int, child: int) -> Op | None:
    if not scene.may_fork:
        return None
    return Clone(process, scene.add_child(process, child, shares=True))


def _kill(scene: Scene, process: int, victim: int) -> Op | None:
    found = scene.victim(process, victim)
    return None if found is None else Kill(process, found)


THREADS = Field(1, MAX_THREADS)


def _threads(scene: Scene, process: int, count: int) -> Op | None:
    return None if process in scene.family.threaded else Threads(process, count)


HANDING = Field(0, len(Leader) - 1)


def _handover(scene: Scene, process: int, leader: int) -> Op | None:
    return Handover(process, pick((*Leader,), leader)) if scene.family.may_hand_over(process) else None


CROWDS = (1, 2, 3, 7, 12, 25)
"""How many idle children; 300, which take 0.3 s, stand in the stories that are about them."""

CROWD = Field(0, len(CROWDS) - 1)


def _crowd(scene: Scene, process: int, size: int) -> Op | None:
    if process in scene.family.crowds or sum(scene.family.crowds.values()) + CROWDS[-1] > MAX_CROWD:
        return None
    return Crowd(process, pick(CROWDS, size))


def _throng(scene: Scene, process: int, size: int, where: int, span: int) -> Op | None:
    crowd = _crowd(scene, process, size)
    if crowd is None:
        return None
    return Throng(process, pick(CROWDS, size), range_at(scene, process, where, span))


def _disperse(scene: Scene, process: int) -> Op | None:
    having = scene.family.crowds.keys() & scene.family.active
    if not having:
        return None
    return Disperse(process if process in having else min(having))


ROUNDS = (1, 2, 3, 10)
ROUND = Field(0, len(ROUNDS) - 1)


def _repeat(scene: Scene, process: int, rounds: int) -> Op | None:
    """Let rounds of fork and exit begin; gives their last step."""
    if not scene.may_fork:
        return None
    scene.emit(Repeat(process, pick(ROUNDS, rounds), 3))
    child = scene.add_child(process, 0)
    scene.emit(Fork(process, child))
    scene.emit(Exit(child, 0))
    return Wait(process, child)


FRAMES_LEFT = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 64)
"""How many frames a fork finds: most are too few, and each number lets it fail elsewhere."""

FRAMES = Field(0, len(FRAMES_LEFT) - 1)


def _starve(_scene: Scene, process: int, frames: int) -> Op:
    return Starve(process, pick(FRAMES_LEFT, frames))


def _refuse(_scene: Scene, process: int) -> Op:
    return Refuse(process)


PAGES_LEFT = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32)
"""How many pages more may be mapped: just enough for what follows, or not quite."""

ROOM = Field(0, len(PAGES_LEFT) - 1)


def _limit(_scene: Scene, process: int, left: int) -> Op:
    return Limit(process, pick(PAGES_LEFT, left))


ROWS: tuple[Row, ...] = (
    Row(Vfork, 1, (ACTOR, CHILD), _vfork),
    Row(Clone, 1, (ACTOR, CHILD), _clone),
    Row(Kill, 1, (ACTOR, CHILD), _kill),
    Row(Threads, 1, (ACTOR, THREADS), _threads),
    Row(Handover, 1, (ACTOR, HANDING), _handover),
    Row(Crowd, 0, (ACTOR, CROWD), _crowd),  # it costs as much as a program: only where asked for
    Row(Throng, 0, (ACTOR, CROWD, WHERE, UNMAP_SHAPE), _throng),
    Row(Disperse, 0, (ACTOR,), _disperse),
    Row(Repeat, 0, (ACTOR, ROUND), _repeat),
    Row(Starve, 0, (ACTOR, FRAMES), _starve),  # it costs as much as a program: only where asked for
    Row(Refuse, 0, (ACTOR,), _refuse),
    Row(Limit, 1, (ACTOR, ROOM), _limit),
)
"""How they are drawn; `strategies.ops` joins them to the others."""
