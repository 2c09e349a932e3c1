"""Draw many programs with a fixed seed, and count by hand what their accesses meet."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from harness.program.ops import Clone, Exec, Fill, Fork, Load, Map, Print, Protect, Store, Unmap, Vfork
from harness.program.program import Program
from harness.program.units import WINDOW_BY_NAME, Prot
from strategies.provider import register_provider

IMAGE = {"text": Prot.R | Prot.X, "data": Prot.R | Prot.W, "bss": Prot.R | Prot.W}


def draw_many(strategy: SearchStrategy[Program], count: int, *, number: int = 1) -> list[Program]:
    drawn: list[Program] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        backend=register_provider(),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(program: Program) -> None:
        drawn.append(program)

    collect()
    return drawn


def image() -> dict[int, Prot]:
    windows = [(WINDOW_BY_NAME[name], prot) for name, prot in IMAGE.items()]
    return {window.vpn + i: prot for window, prot in windows for i in range(window.npages)}


def successes(program: Program) -> Iterator[bool]:
    """Tell for each load, store, fill and print whether the page allows it."""
    spaces = {0: image()}
    for op in program.steps:
        space = spaces.get(op.process, {})
        match op:
            case Fork():
                spaces[op.child] = dict(space)
            case Vfork() | Clone():
                spaces[op.child] = space
            case Exec():
                spaces[op.process] = image()
            case Map():
                space.update(dict.fromkeys(op.pages.vpns, op.prot))
            case Unmap():
                for vpn in op.pages.vpns:
                    space.pop(vpn, None)
            case Protect():
                for vpn in op.pages.vpns:
                    if vpn not in space:
                        break
                    space[vpn] = op.prot
            case Load() | Print():
                yield bool(space.get(op.at.vpn, Prot.NONE))
            case Store() | Fill():
                yield Prot.W in space.get(op.at.vpn, Prot.NONE)
            case _:
                pass
