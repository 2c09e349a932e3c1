"""The situations that several programs reached: how many programs each, and the shortest of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.coverage.situation import Situation
from harness.program.program import Program
from harness.program.text import format_program, parse_program


@dataclass(slots=True)
class Reached:
    """What a run, or a part of it, reached."""

    counts: Counter[Situation] = field(default_factory=Counter)
    """How many programs reached each situation."""
    examples: dict[Situation, Program] = field(default_factory=dict)
    """For each situation that was reached the shortest program that did."""

    def add(self, situations: Iterable[Situation], program: Program) -> None:
        """Take in what one program reached."""
        for situation in situations:
            self._take(situation, 1, program)

    def merge(self, other: Reached) -> None:
        """Take in what another part of the run reached."""
        for situation, count in other.counts.items():
            self._take(situation, count, other.examples[situation])

    def _take(self, situation: Situation, count: int, program: Program) -> None:
        self.counts[situation] += count
        known = self.examples.get(situation)
        if known is None or len(program) < len(known):
            self.examples[situation] = program

    def to_json(self) -> dict[str, tuple[int, str]]:
        """Give it as plain data, which survives the way between two processes."""
        return {str(each): (count, format_program(self.examples[each])) for each, count in self.counts.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, tuple[int, str]]) -> Reached:
        """Read what `to_json` gave."""
        reached = cls()
        for text, (count, program) in data.items():
            reached._take(Situation.parse(text), count, parse_program(program))
        return reached
