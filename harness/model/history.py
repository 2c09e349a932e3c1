"""What happened so far, for the wording of reports; the state of the model does not depend on it.

A plain log, and questions to it. When a byte is wrong, the questions are: who stored it, where, and
when; what is that process to the reader; did the reader's last write copy the frame, or reuse it.
Step numbers start at 1; step 0 is before the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Break = Literal["copied", "reused", "fresh"]
"""What a write fault did: copied the frame, kept it, or found the page untouched."""

Relation = Literal["self", "ancestor", "descendant", "sibling", "relative"]


class StoreRecord(NamedTuple):
    """One store: `length` bytes (1, or 4,096) of `value`, from `offset` bytes into page `vpn` on."""

    step: int
    process: int
    vpn: int
    offset: int
    length: int
    value: int

    def covers(self, offset: int) -> bool:
        """Tell whether the byte at `offset` into the page was stored."""
        return self.offset <= offset < self.offset + self.length


class ForkRecord(NamedTuple):
    """One fork."""

    step: int
    parent: int
    child: int


class Change(NamedTuple):
    """The last map, unmap or protect of a page by a process, or an exec, which changes all its pages."""

    step: int
    verb: str


@dataclass(slots=True)
class History:
    """The log. Methods that start with `note_` write it; the others read it."""

    forks: list[ForkRecord] = field(default_factory=list)
    execs: dict[int, int] = field(default_factory=dict)
    """The step of the last exec of each process that did one."""
    ends: dict[int, int] = field(default_factory=dict)
    """The step at which each ended process ended."""
    _stores: defaultdict[int, list[StoreRecord]] = field(default_factory=lambda: defaultdict(list))
    _breaks: dict[tuple[int, int], tuple[int, Break]] = field(default_factory=dict)
    _changes: dict[tuple[int, int], Change] = field(default_factory=dict)
    _parents: dict[int, int] = field(default_factory=dict)

    def note_store(self, record: StoreRecord) -> None:
        """Log a store."""
        self._stores[record.vpn].append(record)

    def note_break(self, step: int, process: int, vpn: int, how: Break) -> None:
        """Log what a write fault of `process` at page `vpn` did."""
        self._breaks[process, vpn] = (step, how)

    def note_change(self, step: int, process: int, vpns: range, verb: str) -> None:
        """Log a map, unmap or protect of pages."""
        change = Change(step, verb)
        for vpn in vpns:
            self._changes[process, vpn] = change

    def note_fork(self, step: int, parent: int, child: int) -> None:
        """Log a fork."""
        self.forks.append(ForkRecord(step, parent, child))
        self._parents[child] = parent

    # ------------------------------------------------------------------------------ questions

    def stores(self, vpn: int) -> list[StoreRecord]:
        """List the stores to page `vpn` by all processes, in the order in which they happened."""
        return list(self._stores.get(vpn, ()))

    def last_store(self, process: int, vpn: int, offset: int) -> StoreRecord | None:
        """Give the last store of `process` itself to the byte at `offset` into page `vpn`."""
        for record in reversed(self._stores.get(vpn, ())):
            if record.process == process and record.covers(offset):
                return record
        return None

    def last_break(self, process: int, vpn: int) -> Break | None:
        """Tell what the last write fault of `process` at `vpn` did; None where there was none, or where
        the page was mapped, unmapped or exec'd away since.
        """
        step, how = self._breaks.get((process, vpn), (0, None))
        change = self.last_change(process, vpn)
        gone = change is not None and change.verb != "protect" and change.step >= step
        return None if gone else how

    def last_change(self, process: int, vpn: int) -> Change | None:
        """Give the last map, unmap, protect or exec of `process` that met page `vpn`."""
        change = self._changes.get((process, vpn))
        step = self.execs.get(process)
        if step is not None and (change is None or change.step < step):
            return Change(step, "exec")
        return change

    def written_by(self, process: int, vpn: int) -> bool:
        """Tell whether `process` ever stored to page `vpn`, or an ancestor of it did before the fork."""
        return next(self.lineage_stores(process, vpn), None) is not None

    def lineage_stores(self, process: int, vpn: int) -> Iterator[StoreRecord]:
        """Give the stores to `vpn` that `process` should know of: its own, and its ancestors' up to the
        forks that led to it; the latest first.
        """
        before = self._fork_steps(process)
        for record in reversed(self._stores.get(vpn, ())):
            limit = before.get(record.process)
            if limit is not None and record.step < limit:
                yield record

    def _fork_steps(self, process: int) -> dict[int, float]:
        """For `process` and each ancestor: the step from which on its stores do not concern it."""
        steps = {process: float("inf")}
        for fork in reversed(self.forks):
            if fork.child in steps:
                steps[fork.parent] = min(fork.step, steps[fork.child])
        return steps

    def ancestors(self, process: int) -> list[int]:
        """List the parent, its parent, and so on up to p0, whether they live or not."""
        found = []
        while process in self._parents:
            process = self._parents[process]
            found.append(process)
        return found

    def generation(self, process: int) -> int:
        """Count the forks between p0 and `process`: 0 for p0, 1 for its children, and so on."""
        return len(self.ancestors(process))

    def relation(self, process: int, other: int) -> Relation:
        """Tell what `other` is to `process`: `relation(1, 0)` is "ancestor" after `p0: fork p1`."""
        if process == other:
            return "self"
        if other in self.ancestors(process):
            return "ancestor"
        if process in self.ancestors(other):
            return "descendant"
        same_parent = self._parents.get(process) == self._parents.get(other)
        return "sibling" if same_parent else "relative"
