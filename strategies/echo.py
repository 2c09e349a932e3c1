"""Echoes: what an operation is about is touched by the same process right before it, right after it, or both.

A CPU remembers a translation until the next context switch, and no longer. So a flush that was forgotten shows only where
a page is touched, changed, and touched again in one turn, and such three steps, each drawn by itself, hardly ever meet on
one page. An echo is a part of the raw operation, kept in the high bits of its `ACTOR`, and the shrinker clears it first.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.program.ops import ENDING, FORKS, Fill, Load, Observe, Op, Print, Repeat, Store
from harness.program.program import places
from harness.program.units import Address, PageRange, last_watched
from strategies.scene import Scene

VALUE = 0x5E
"""The byte that an echo stores, wherever it does."""

_ITSELF = (Load, Store, Fill, Print, Observe, Repeat, *ENDING, *FORKS)
"""Operations without an echo: they are touches themselves, or nobody is there to touch anything after them. Nor have forks
one: the shrinker cannot turn an echo into a step of its own, and would keep a fork of which only the echo matters.
"""


@dataclass(frozen=True, slots=True)
class Echo:
    """How a page is touched before and after an operation; None: not at all."""

    before: type[Op] | None = None
    after: type[Op] | None = None

    @property
    def steps(self) -> int:
        """How many steps it adds."""
        return (self.before is not None) + (self.after is not None)


def has_echo(op: type[Op]) -> bool:
    """Tell whether operations of this type may have an echo."""
    return not issubclass(op, _ITSELF)


def echoed_at(scene: Scene, op: Op) -> Address:
    """Give the byte that an echo of `op` touches: the last page of a range, for a flush of its first is soon done.

    Where `op` names none it is the last that its process did name, or else the hottest page.
    """
    for step in (op, *(step for step in reversed(scene.steps) if step.process == op.process)):
        for place in places(step):
            if isinstance(place, PageRange):
                return last_watched(place)
            return place
    return scene.address(0)


def emit(scene: Scene, op: Op, echo: Echo, *, has_room: bool) -> None:
    """Append a step, with its echo where the scene has room for that too."""
    at = echoed_at(scene, op) if has_room and echo.steps else None
    if at is not None and echo.before is not None:
        scene.emit(_touch(echo.before, op.process, at))
    scene.emit(op)
    if at is not None and echo.after is not None and op.process in scene.family.active:
        scene.emit(_touch(echo.after, op.process, at))


def _touch(op: type[Op], process: int, at: Address) -> Op:
    return Store(process, at, VALUE) if op is Store else Load(process, at)
