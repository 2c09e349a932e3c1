"""The rows of operations that make processes which share memory."""

from __future__ import annotations

from harness.program.ops import Clone, Op, Vfork
from strategies.fields import ACTOR, CHILD, Row
from strategies.scene import Scene


def _vfork(scene: Scene, process: int, child: int) -> Op | None:
    if not scene.may_fork:
        return None
    return Vfork(process, scene.add_child(process, child, shares=True))


def _clone(scene: Scene, process: int, child: int) -> Op | None:
    if not scene.may_fork:
        return None
    return Clone(process, scene.add_child(process, child, shares=True))


ROWS: tuple[Row, ...] = (
    Row(Vfork, 2, (ACTOR, CHILD), _vfork),
    Row(Clone, 2, (ACTOR, CHILD), _clone),
)
"""How they are drawn; `strategies.ops` joins them to the others."""
