"""The toy kernel as a `Subject`: run a program, and report as a guest in QEMU would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.model_guest.faults import check_names, features_of
from harness.model_guest.features import Feature
from harness.model_guest.kernel import Kernel
from harness.model_guest.machine import PREFAULT_BUDGET
from harness.model_guest.observe import accounting, leftover, observe
from harness.model_guest.trouble import OutOfMemory, Panic, Stuck
from harness.program.levels import Level
from harness.program.ops import FORKS, SILENT, Crowd, Observe, Op, Repeat
from harness.program.outcome import Failed, Lost, Outcome
from harness.program.program import Program
from harness.program.trace import Accounting, Ending, Frame, FrameSeen, Observation, Trace
from harness.subject import How

TOTAL_FRAMES = 1 << 14
"""Frames of memory, unless said otherwise: 64 MiB, so that a leak does not run out at once."""


_DECLARED: dict[Feature, dict[str, object]] = {
    Feature.PREFAULT: {"prefault_budget": PREFAULT_BUDGET, "file_pages_may_appear": True},
    Feature.HUGE_PAGES: {"huge_pages": True},
    Feature.SWAP: {"swaps": True},
}
"""What a kernel that has a feature declares beyond its preset."""


@dataclass(slots=True)
class _Run:
    """One execution in progress: what has been seen so far."""

    program: Program
    how: How
    outcomes: list[Outcome | None] = field(default_factory=list)
    faults: list[int | None] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    ending: Ending = Ending.COMPLETE
    evidence: str = ""
    leftover: dict[Frame, FrameSeen] | None = None
    before: Accounting | None = None
    after: Accounting | None = None

    def end(self, ending: Ending, evidence: str = "") -> None:
        """Say how the run ended."""
        self.ending = ending
        self.evidence = evidence

    def trace(self, outputs: dict[int, bytes], unreaped: int = 0) -> Trace:
        """Put the report together."""
        return Trace(
            outcomes=tuple(self.outcomes),
            observations=tuple(self.observations),
            outputs=outputs,
            ending=self.ending,
            evidence=self.evidence,
            leftover=self.leftover,
            before=self.before,
            after=self.after,
            faults=tuple(self.faults) if self.how.count_faults else None,
            unreaped=None if self.ending in (Ending.PANICKED, Ending.DIED) else unreaped,
        )


class ModelGuest:
    """The in-process guest, with the named faults planted in it.

    Arguments: `faults`, names from `FAULTS`; `total_frames`, the size of memory in frames of 4 KiB; `features`, what it
    can do beyond what every kernel does, with what its faults take.
    Raises: DefinitionError where a fault has no such name.
    """

    name = "model"
    semantics = "model"
    levels = frozenset(Level) - {Level.PTE_BITS}

    def __init__(
        self,
        faults: Iterable[str] = (),
        *,
        total_frames: int = TOTAL_FRAMES,
        features: Iterable[Feature] = (),
    ) -> None:
        self.faults = check_names(faults)
        self.features = frozenset(features) | features_of(self.faults)
        self._total_frames = total_frames
        self.restore()

    @property
    def overrides(self) -> dict[str, object]:
        """What it declares beyond the preset."""
        return {name: value for feature in self.features for name, value in _DECLARED[feature].items()}

    def restore(self) -> None:
        """Boot afresh: no leak and no poisoned page is left."""
        self._panic = ""
        self._kernel = Kernel(self._total_frames, self.faults, self.features)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def header(self) -> list[str]:
        """Say what this is, and which faults are planted."""
        planted = ", ".join(sorted(self.faults)) or "none"
        return [f"guest: model (in-process toy kernel), planted faults: {planted}"]

    def execute(self, program: Program, how: How) -> Trace:
        """Run `program` in a fresh p0. After a panic nothing runs until `restore`."""
        run = _Run(program, how)
        if self._panic:
            run.end(Ending.DIED, f"the kernel has panicked in an earlier program ({self._panic})")
            return run.trace({})
        try:
            self._execute(run)
        except Panic as panic:
            self._panic = str(panic)
            run.end(Ending.PANICKED, f"Kernel panic - not syncing: {panic}")
        return run.trace(self._kernel.outputs, self._kernel.unreaped)

    def _execute(self, run: _Run) -> None:
        kernel = self._kernel
        if run.how.accounting:
            run.before = accounting(kernel.machine)
        try:
            kernel.start()
        except OutOfMemory as error:
            run.end(Ending.LOST, f"p0 could not be started: {error}")
            return
        self._steps(run)
        kernel.end_all()
        run.leftover = leftover(kernel.machine, run.observations)
        if run.how.accounting:
            run.after = accounting(kernel.machine)

    def _steps(self, run: _Run) -> None:
        for number, op in enumerate(run.program.steps):
            if not self._step(run, op) or not self._rehearse(run, number):
                return
            if run.how.dense or isinstance(op, Observe):
                self._observe(run)
        if not run.observations or run.observations[-1].after != len(run.program):
            self._observe(run)

    def _rehearse(self, run: _Run, number: int) -> bool:
        """Do the rounds but the last of a repetition, and forget what they said. Returns: whether the run goes on."""
        op, done = run.program.steps[number], len(run.outcomes)
        if not isinstance(op, Repeat):
            return True
        for _ in range(op.rounds - 1):
            for each in run.program.steps[number + 1 : number + 1 + op.body]:
                if not self._step(run, each):
                    return False
            del run.outcomes[done:], run.faults[done:]
        return True

    def _step(self, run: _Run, op: Op) -> bool:
        """Do one step. Returns: whether the run goes on."""
        if isinstance(op, SILENT):
            run.outcomes.append(None)
            run.faults.append(None)
            return True
        machine = self._kernel.machine
        faults_before = machine.minor_faults
        try:
            outcome = self._kernel.perform(op)
        except Stuck as stuck:
            run.end(Ending.STUCK, str(stuck))
            return False
        run.outcomes.append(outcome)
        run.faults.append(machine.minor_faults - faults_before)
        if isinstance(outcome, Lost):
            run.end(Ending.LOST, outcome.why)
        elif isinstance(op, (Crowd, *FORKS)) and isinstance(outcome, Failed):
            run.end(Ending.FORK_FAILED, outcome.errno)
        return run.ending is Ending.COMPLETE

    def _observe(self, run: _Run) -> None:
        accounts = run.how.accounting
        run.observations.append(observe(self._kernel, run.program.windows, after=len(run.outcomes), accounts=accounts))
