"""What the comparison says: nothing, or the first point at which guest and contract part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.compare.catalogue import CONTRACTS, Contract
from harness.coverage.situation import Situation
from harness.program.program import Program
from harness.program.trace import Trace

USABLE_AFTER = "live.usable-after"
"""The contract that a divergence breaks beside its own where it shows only after other programs, which conformed."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One difference. `contracts` are the ids that it breaks, the most specific first.

    `step` is the 0-based step at, or after, which it was seen; len(program) means after the last.
    """

    contracts: tuple[str, ...]
    step: int
    where: str
    """Process, page or frame, in the program's names: "p1 a[0]"."""
    expected: str
    observed: str

    @property
    def contract(self) -> Contract:
        """The contract that it breaks first of all."""
        return CONTRACTS[self.contracts[0]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One side of a row: how a page looks, to the model or on the guest."""

    frame: str = ""
    """A letter that both sides share, `zero`, `-` for absent, `?` for not seen."""
    counts: str = ""
    bytes: str = ""
    unmapped_holders: tuple[str, ...] = ()
    """Who holds the frame beside the pages that map it, in words: "the page cache"; known to the model alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """One page of one process, expected and observed."""

    process: int
    page: str
    expected: Cell
    observed: Cell


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one program on one guest. It conforms when there is no divergence."""

    program: Program
    trace: Trace
    divergences: tuple[Divergence, ...] = ()
    """All that was seen at the first diverging point; later points mean nothing any more."""
    rows: tuple[Row, ...] = ()
    """The state at that point, where it was observed."""
    after: tuple[Program, ...] = ()
    """The programs that have to run before this one for it to diverge; mostly none."""
    reproduced: bool = True
    """False where it was seen once, and neither the program alone nor what ran before it showed it again."""
    reach: Mapping[str, int] = field(default_factory=dict)
    """How often the program reached each kind of event, as the model counts them."""
    situations: frozenset[Situation] = frozenset()
    """The cells of the coverage table that the program reached."""

    @property
    def conforms(self) -> bool:
        """Tell whether nothing diverged."""
        return not self.divergences

    @property
    def contracts(self) -> frozenset[str]:
        """The ids of every contract that the divergences break."""
        return frozenset(id for each in self.divergences for id in each.contracts)

    def following(self, programs: tuple[Program, ...]) -> Verdict:
        """Give this verdict as one that it takes `programs` for, run before: they have left the kernel unfit for use."""
        if not programs:
            return self
        broken = [replace(each, contracts=(*each.contracts, USABLE_AFTER)) for each in self.divergences]
        return replace(self, divergences=tuple(broken), after=programs)

    def breaks(self, contract: str) -> bool:
        """Tell whether a divergence breaks the contract with this id."""
        return contract in self.contracts

    def first(self, contract: str | None = None) -> Divergence:
        """Give the first divergence, or the first that breaks `contract`."""
        matching = [each for each in self.divergences if contract in (None, *each.contracts)]
        return matching[0]
