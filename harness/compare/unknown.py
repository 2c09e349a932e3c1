"""Finds out whether one of the kernels that a guest may be explains what it did.

What a kernel always does alike, but nobody knows how (`Semantics.unknown`), is not a choice that it may make anew at each
step: a run must be right for *one* value of each such field. Only the fields that the model asks for matter, and it asks
for few before the two part::

    as is ── diverges, and has asked for x, y
      ├─ x other ────────── diverges, and has asked for x, z
      │    └─ x, z other ── conforms: such a kernel is right, and so is the guest
      └─ x as is, y other   (not tried any more)

Where no kernel is found that explains the run, the finding is that of the one which explains most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from harness.compare.verdict import Verdict
from harness.model.semantics import Semantics


class Consulted:
    """Stands in for semantics, and keeps the names of the fields that were asked for, in that order."""

    def __init__(self, semantics: Semantics) -> None:
        self._semantics = semantics
        self.asked: dict[str, None] = {}

    def __getattr__(self, name: str) -> object:
        self.asked.setdefault(name)
        return getattr(self._semantics, name)


def explain(semantics: Semantics, judge: Callable[[Semantics], Verdict]) -> Verdict:
    """Give the verdict of `judge` for a kernel of `semantics`: the first that conforms, else the one that gets furthest."""
    best = judge(semantics)
    if best.conforms or not semantics.unknown:
        return best
    for verdict in _others(semantics, judge, frozenset()):
        if verdict.conforms:
            return verdict
        if _reached(verdict) > _reached(best):
            best = verdict
    return best


def _others(semantics: Semantics, judge: Callable[[Semantics], Verdict], settled: frozenset[str]) -> Iterator[Verdict]:
    """Judge `semantics`, then all that differ in fields that were asked for and are not `settled`, each once."""
    consulted = Consulted(semantics)
    verdict = judge(cast(Semantics, consulted))
    yield verdict
    if verdict.conforms:
        return
    others = dict(semantics.unknown)
    names = [name for name in consulted.asked if name in others and name not in settled]
    for number, name in enumerate(names):
        for value in others[name]:
            changed: dict[str, Any] = {name: value}
            yield from _others(replace(semantics, **changed), judge, settled.union(names[: number + 1]))


def _reached(verdict: Verdict) -> int:
    return verdict.divergences[0].step
