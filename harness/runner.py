"""Runs one program on one guest, compares, and returns the verdict.

After a finding the guest is suspect: it goes back to its snapshot, and the program is tried once more on the restored
guest. Mostly it diverges again, and then it stands alone. Where it does not, an earlier program may have left something
behind: what ran since the last restore is run again, and the verdict carries as little of it as still shows the divergence
(`after`). What is never seen again is reported all the same, as not reproduced. Every finding is remembered, so that asking
for the same program again gives the same answer: memory that was freed too early may look different each time. Nothing that
was seen is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.compare import compare
from harness.compare.verdict import Verdict
from harness.coverage.reached import Reached
from harness.hoard import Hoard
from harness.model.semantics import Semantics
from harness.program.program import Program
from harness.program.trace import Ending
from harness.subject import How, Subject

LOOKS = 4
"""How often a finding is looked for that may have been seen too early, and was not seen again."""

MAX_HISTORY = 400
"""How many programs since the last restore are kept; a restore happens when so many have passed."""


@dataclass(slots=True)
class Statistics:
    """What a runner did so far, for the summary of a run."""

    programs: int = 0
    steps: int = 0
    processes: int = 0
    findings: int = 0
    restores: int = 0
    reach: Counter[str] = field(default_factory=Counter)
    situations: Reached = field(default_factory=Reached)
    is_late: bool = False
    """Whether the kernel was found on the way to tear down late."""
    hoarded: int = 0
    """How many frames of what was freed the kernel was seen to keep for a while."""


class Runner:
    """Runs programs on one subject, and holds each to the model's `semantics`."""

    def __init__(self, subject: Subject, semantics: Semantics) -> None:
        self.subject = subject
        self.semantics = semantics
        self.statistics = Statistics()
        self.listeners: list[Callable[[Verdict], None]] = []
        self._history: list[Program] = []
        self._conformed: set[tuple[Program, How]] = set()
        self._findings: dict[tuple[Program | None, Program, How], Verdict] = {}  # what ran right before, if that matters
        self._hangs = False

    def begin(self) -> None:
        """Start a new search. Once a program was seen not to end, twice and with all the time that it may take,
        those that come after it until the next `begin` get less: shrinking asks for many such programs.
        """
        self._hangs = False

    def run(self, program: Program, how: How | None = None, *, then: Program | None = None) -> Verdict:
        """Run `program` and compare, and where it conforms do the same with `then`, on what it has left.

        Gives the verdict of what ran last. After a finding the guest has been restored.

        A program that conformed once and diverges later, because of what ran in between, is a finding that the listeners
        hear of; the caller gets the same answer as before.

        Raises RigError where our own side fails.
        """
        how = how or How()
        verdict = self._run_first(program, how)
        return self._run_after(program, then, how) if then is not None and verdict.conforms else verdict

    def _run_first(self, program: Program, how: How) -> Verdict:
        if (None, program, how) in self._findings:
            return self._findings[None, program, how]
        verdict = self._tried(program, how)
        if verdict.conforms:
            self._conformed.add((program, how))
            return verdict
        if (program, how) in self._conformed:
            verdict = Verdict(program, verdict.trace)
        self._findings[None, program, how] = verdict
        return verdict

    def _run_after(self, before: Program, program: Program, how: How) -> Verdict:
        """Run `program` where `before` has just conformed; whatever it did elsewhere says nothing about that."""
        if (before, program, how) in self._findings:
            return self._findings[before, program, how]
        verdict = self._tried(program, how)
        if not verdict.conforms:
            self._findings[before, program, how] = verdict
        return verdict

    def _tried(self, program: Program, how: How) -> Verdict:
        """Run, compare and count; confirm what diverges, and tell of it."""
        verdict = self._once(program, replace(how, hasty=self._hangs))
        if not verdict.conforms:
            verdict = self._confirm(program, verdict, how)
        self._count(program, verdict)
        if verdict.conforms:
            self._history.append(program)
            if len(self._history) >= MAX_HISTORY:
                self.restore()
            return verdict
        for listener in self.listeners:
            listener(verdict)
        self._hangs |= verdict.reproduced and verdict.trace.ending in (Ending.HUNG, Ending.STUCK)
        return verdict

    def remembers(self, program: Program) -> bool:
        """Tell whether `program`, or what ran after it, was a finding."""
        return any(program == (before or alone) for before, alone, _ in self._findings)

    def explain(self, verdict: Verdict) -> Verdict:
        """Run a finding's program, and what has to run before it, again with an observation after every step."""
        again = self.run_densely([*verdict.after, verdict.program])
        self.restore()
        return again

    def run_densely(self, programs: Sequence[Program]) -> Verdict:
        """Do as `run_sequence` with an observation after every step: from outside, where the subject can be looked at so,
        which disturbs least; and from inside, where that shows nothing before the end.
        """
        if getattr(self.subject, "observer", None) is not None:
            found = self.run_sequence(programs, How(dense=True, outside=True, patient=True))
            if not found.conforms and found.divergences[0].step < len(found.program) - 1:
                return found
        return self.run_sequence(programs, How(dense=True, pte_bits=True, accounting=True, patient=True))

    def run_sequence(self, programs: Sequence[Program], how: How | None = None) -> Verdict:
        """Restore, run `programs` in order, and give the first verdict that diverges, or the last."""
        if not programs:
            raise ValueError("a sequence has at least one program")
        self.restore()
        for number, program in enumerate(programs):
            verdict = self._once(program, how or How())
            if not verdict.conforms:
                self.restore()
                return verdict.following(tuple(programs[:number]))
            self._history.append(program)
        return verdict

    def restore(self) -> None:
        """Bring the guest back to its pristine state."""
        self.subject.restore()
        self.statistics.restores += 1
        self._history.clear()

    def close(self) -> None:
        """Let go of the guest."""
        self.subject.close()

    # -------------------------------------------------------------------------- inside

    def _once(self, program: Program, how: How) -> Verdict:
        """Run and compare; what seems lost of the free memory has to be lost again and again, see `harness.hoard`."""
        first = last = compare(program, self.subject.execute(program, how), self.semantics)
        hoard = Hoard()
        while hoard.may_hold_what_went(last):
            last = compare(program, self.subject.execute(program, how), self.semantics)
        if not hoard.is_full:
            self.statistics.hoarded = max(self.statistics.hoarded, hoard.frames)
        return hoard.judge(first, last)

    def _count(self, program: Program, verdict: Verdict) -> None:
        self.statistics.programs += 1
        self.statistics.steps += len(program)
        self.statistics.processes += program.processes
        self.statistics.findings += not verdict.conforms
        self.statistics.reach.update(verdict.reach)
        self.statistics.situations.add(verdict.situations, program)

    def _confirm(self, program: Program, first: Verdict, how: How) -> Verdict:
        """Find out whether a divergence stands alone, or needs what ran before it; and whether it was seen too early."""
        if first.trace.is_starved:
            return self._given_time(program, replace(how, unhurried=True))
        found = self._reproduce(program, first, how)
        return self._looked_again(found, how) if getattr(self.subject, "is_hasty", False) else found

    def _given_time(self, program: Program, how: How) -> Verdict:
        """Run what did not end in time, while the host gave the machine little of it, with all the time that it may take.

        That it ended late is no divergence; a program has to conform alone and after what ran before it.
        """
        history = tuple(self._history)
        found = self.run_sequence([program], how)
        if not found.conforms:
            return found
        if history:
            return self._with_history(history, program, how)
        self.restore()
        return found

    def _looked_again(self, found: Verdict, how: How) -> Verdict:
        """Run a finding with looks that wait, and again without; see `harness.patience`.

        Where the wait alone makes it conform, or counts move in it, the kernel is late, and is waited for from now on. A
        look comes too early by chance, so what neither shows is looked for some times more.
        """
        programs = [*found.after, found.program]
        for _ in range(LOOKS):
            patient = self.run_sequence(programs, replace(how, patient=True))
            if not patient.conforms:
                return patient
            if self.subject.is_hasty and self.run_sequence(programs, how).conforms:  # type: ignore[attr-defined]
                continue
            self.subject.wait_from_now_on()  # type: ignore[attr-defined]
            self.statistics.is_late = True
            return patient
        self.restore()
        return replace(found, reproduced=False)

    def _reproduce(self, program: Program, first: Verdict, how: How) -> Verdict:
        history = tuple(self._history)
        self.restore()
        if not history:
            return first
        again = self._once(program, replace(how, hasty=self._hangs))
        self.restore()
        if not again.conforms:
            return again
        found = self._with_history(history, program, how)
        return replace(first, reproduced=False) if found.conforms else found

    def _with_history(self, history: tuple[Program, ...], program: Program, how: How) -> Verdict:
        """Run the whole history again, then as little of its end as still shows the divergence."""
        found = self.run_sequence([*history, program], how)
        if found.conforms:
            self.restore()
            return found
        length = 1
        while length < len(found.after):
            shorter = self.run_sequence([*found.after[-length:], found.program], how)
            if not shorter.conforms:
                return shorter
            length *= 2
        self.restore()
        return found
