"""The report of one failure: what a person sees first, in a terminal of 100 columns.

It answers, in this order: which sentence about memory was broken, what the kernel did wrong in plain
words, in which program and at which step, what the state was and should have been, who holds the frames,
and how to see it again.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from harness.compare.catalogue import CONTRACTS
from harness.compare.verdict import Divergence, Verdict
from harness.program.ops import Fill, Load, Print, Store
from harness.program.program import Program
from harness.program.trace import Ending
from harness.report.before import before_and_after
from harness.report.kernel_log import excerpt
from harness.report.listing import EARLIER, MARK, cut, legend, step_lines
from harness.report.sentence import (
    counts_faults,
    is_ending,
    is_outcome,
    point,
    step_of,
    what_went_wrong,
    without_point,
)
from harness.report.state_table import Titled, holder_lines, state_lines

CONSOLE_LINES = 25
"""How much of the console is shown: a kernel's complaint and the head of its call trace."""

PREDECESSORS = 3
"""How many of the programs that have to run before are written out."""

OTHERS = 3
"""How many further differences at the same point get a sentence."""

_HIDDEN = (
    "With a look at the memory after every step the same program does not diverge: looking hides it, as "
    "it would hide a stale TLB entry or a race."
)

_ENDED: dict[Ending, str] = {
    Ending.LOST: "the process died here",
    Ending.STUCK: "this step did not end",
    Ending.FORK_FAILED: "this fork failed",
    Ending.PANICKED: "the kernel broke here",
    Ending.HUNG: "no answer from here on",
    Ending.GARBLED: "what the guest said makes no sense",
    Ending.DIED: "the machine went away here",
}

_ABOUT_STATES = "     (map: page-table entries that map a frame; ref: all that hold it; A, B, …: frames)"

_CHANGES = Titled("before", "after", "changed", "*")


def failure_text(
    verdict: Verdict,
    *,
    contract: str | None,
    explained: Verdict | None = None,
    replay: str = "",
    guest: str = "",
    width: int = 100,
) -> str:
    """Write the report of a verdict that diverges, as plain text.

    `contract` is the contract that was tested (None: the one that is broken first of all), `explained`
    the verdict of the same program run with an observation after every step, `replay` the command that
    shows it again, `guest` the guest's name. Lines are at most `width` characters, but for the command.
    The same arguments give the same text.
    """
    if explained is not None and _knows_the_step(explained, verdict):
        verdict, explained = explained, None
    chosen = contract if contract is not None and verdict.breaks(contract) else None
    first = verdict.first(chosen)
    report = _Report(verdict, contract or first.contracts[0], first, explained, replay, guest, width)
    return "\n".join(report.lines()) + "\n"


def _knows_the_step(explained: Verdict, verdict: Verdict) -> bool:
    """Tell whether a run with a look after every step tells better where `verdict` did not get through its program.

    Steps of one process go to the guest in one run. Of one that never came back nobody knows which step it was, and the
    first is named; where there are looks in between, each is a run of its own.
    """
    ending = verdict.trace.ending
    if ending is Ending.COMPLETE or explained.conforms or explained.program != verdict.program:
        return False
    is_same = explained.trace.ending is ending and explained.contracts >= verdict.contracts
    return is_same and step_of(explained, explained.first()) > step_of(verdict, verdict.first())


@dataclass(frozen=True, slots=True)
class _Report:
    """One report in the making; each method gives the lines of a section, without its blank line."""

    verdict: Verdict
    contract: str
    first: Divergence
    explained: Verdict | None
    replay: str
    guest: str
    width: int

    @property
    def step(self) -> int:
        """The 0-based step of the divergence that is reported."""
        return step_of(self.verdict, self.first)

    def lines(self) -> Iterator[str]:
        """Give the whole report."""
        sections = (
            self._contract(), self._what(), self._program(), *self._states(), self._console(),
            self._before(), self._others(), self._replay(),
        )  # fmt: skip
        for number, section in enumerate(lines for lines in sections if lines):
            if number:
                yield ""
            yield from (line.rstrip() for line in section)

    # ------------------------------------------------------------------ words

    def _contract(self) -> list[str]:
        known = CONTRACTS.get(self.contract)
        on = f"  on guest {self.guest}" if self.guest else ""
        sentence = known.sentence if known else "(This contract is not in the catalogue.)"
        return [f"BROKEN: {self.contract}{on}", *self._wrapped(sentence)]

    def _what(self) -> list[str]:
        lines = ["WHAT THE KERNEL DID WRONG", *self._wrapped(self._sentence())]
        lines += self._shows_first()
        also = [each for each in self.verdict.divergences if each is not self.first]
        for each in also[:OTHERS]:
            lines += self._wrapped("Also: " + without_point(self.verdict, each))
        if len(also) > OTHERS:
            lines += self._wrapped(f"And {len(also) - OTHERS} more differences at the same point.")
        return lines

    def _sentence(self) -> str:
        """Say it with the explanation's evidence where that saw the same: it knows the step to blame."""
        if self.explained is not None and self.first in self.explained.divergences:
            return what_went_wrong(self.explained, self.first)
        return what_went_wrong(self.verdict, self.first)

    def _shows_first(self) -> list[str]:
        """Say what a look after every step adds: an earlier point, or that looking hides it."""
        if self.explained is None:
            return []
        if self.explained.conforms:
            return self._wrapped(_HIDDEN) if self._could_be_seen() else []
        earlier = self._earlier()
        if earlier is None:
            return []
        said = without_point(self.explained, earlier)
        when = _decapitalised(point(self.explained, earlier))
        return self._wrapped(f"With a look at the memory after every step it shows first {when}: {said}")

    def _could_be_seen(self) -> bool:
        """Tell whether looking after every step looks at what diverged (it does not count faults)."""
        alone = not self.verdict.after
        return alone and self.step < len(self.verdict.program) and not counts_faults(self.first)

    def _earlier(self) -> Divergence | None:
        """Give the explanation's first divergence, where it comes before the verdict's."""
        if self.explained is None or self.explained.conforms:
            return None
        first = self.explained.first()
        is_same = self.explained.program == self.verdict.program
        return first if is_same and first.step < self.step else None

    # ------------------------------------------------------------------ program and state

    def _program(self) -> list[str]:
        marks: dict[int, str] = {}
        notes: dict[int, str] = {}
        earlier = self._earlier()
        if earlier is not None:
            marks[earlier.step], notes[earlier.step] = EARLIER, "shows first here"
        step = self.step
        marks[step], notes[step] = MARK, self._note()
        program = self.verdict.program
        outcomes = self.verdict.trace.outcomes
        steps = step_lines(program, outcomes, marks=marks, notes=notes, width=self.width)
        if step >= len(program):
            steps.append(f"{MARK:>4}      (after the last step, when every process had been reaped)")
        return ["PROGRAM", *steps, *legend(program, width=self.width)]

    def _note(self) -> str:
        if is_ending(self.verdict, self.first):
            return _ENDED[self.verdict.trace.ending]
        if is_outcome(self.verdict, self.first):
            return f"expected {self.first.expected}"
        if counts_faults(self.first):
            expected = self.first.expected.removesuffix(" minor faults")
            return f"page faults: {self.first.observed.split()[0]}, expected {expected}"
        if self._earlier() is not None:
            return "the memory was looked at here"
        return "the memory is wrong after this step"

    def _states(self) -> list[list[str]]:
        earlier = self._earlier()
        tables = [self._state(self.verdict, self.first)]
        if earlier is not None and self.explained is not None:
            tables.insert(0, self._state(self.explained, earlier))
        if not any(tables):
            tables.append(self._around())
        tables = [table for table in tables if table]
        if tables:
            tables[-1].append(_ABOUT_STATES)
        return tables

    def _state(self, verdict: Verdict, divergence: Divergence) -> list[str]:
        if not verdict.rows:
            return []
        return [
            f"STATE after step {divergence.step + 1}",
            *state_lines(verdict.rows, verdict.divergences, width=self.width),
            *holder_lines(verdict.rows, verdict.divergences, width=self.width),
        ]

    def _around(self) -> list[str]:
        """Show the guest's state before and after a step whose outcome is wrong."""
        rows = before_and_after(self.explained.trace, self.step) if self.explained else []
        op = self.verdict.program.steps[self.step] if rows else None
        if not isinstance(op, Load | Store | Fill | Print):
            return []
        return [
            f"STATE of the guest, before and after step {self.step + 1}",
            *state_lines(rows, (), titled=_CHANGES, width=self.width),
        ]

    # ------------------------------------------------------------------ evidence

    def _console(self) -> list[str]:
        evidence = self.verdict.trace.evidence.rstrip()
        if self.verdict.trace.ending is Ending.COMPLETE or not evidence:
            return []
        lines = evidence.splitlines()
        if len(lines) == 1 and lines[0].rstrip(".") in what_went_wrong(self.verdict, self.first):
            return []
        chosen = excerpt(lines, CONSOLE_LINES)
        part = f" (lines {chosen[0] + 1} to {chosen[-1] + 1} of {len(lines)})"
        told = [f"EVIDENCE{part if len(chosen) < len(lines) else ''}"]
        for number, before in zip(chosen, [chosen[0] - 1, *chosen], strict=False):
            told += ["    …"] if number > before + 1 else []
            told.append(f"    | {cut(_printable(lines[number]), self.width - 6)}")
        return told

    def _before(self) -> list[str]:
        programs = self.verdict.after
        if not programs:
            return []
        count = "1 program has" if len(programs) == 1 else f"{len(programs)} programs have"
        lines = [f"RUN BEFORE IT: {count} to run first on the same guest; alone, this one conforms."]
        if len(programs) > PREDECESSORS:
            lines.append(f"    … {len(programs) - PREDECESSORS} more, then:")
        shown = list(enumerate(programs, 1))[-PREDECESSORS:]
        return lines + [line for each in shown for line in _listed(*each, self.width)]

    def _others(self) -> list[str]:
        others = sorted(self.verdict.contracts - {self.contract})
        if not others:
            return []
        text = f"ALSO BROKEN, by the same evidence: {', '.join(others)}"
        return textwrap.wrap(text, self.width, subsequent_indent="    ", break_on_hyphens=False)

    def _replay(self) -> list[str]:
        return [f"REPLAY  {self.replay}"] if self.replay else []

    def _wrapped(self, text: str) -> list[str]:
        indent = "    "
        return textwrap.wrap(text, self.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _listed(number: int, program: Program, width: int) -> list[str]:
    lines = step_lines(program, None, width=width - 2)
    return [f"    program {number}:", *(f"  {line}" for line in lines)]


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line.expandtabs())


def _decapitalised(text: str) -> str:
    return text[0].lower() + text[1:]
