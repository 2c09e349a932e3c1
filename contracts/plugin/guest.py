"""The guest of a run: opened once in each worker, by the first contract that needs it."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from contracts.contract import ContractViolation, is_about, needed_by
from contracts.plugin.findings import Findings, broken_contract
from contracts.plugin.options import known_divergences, run_seed
from contracts.plugin.progress import Progress
from harness.compare.catalogue import Contract
from harness.compare.verdict import Verdict
from harness.errors import GuestTrouble, PagepactError, RigError
from harness.guests import open_runner
from harness.program.abilities import within
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.without import shorten
from harness.report.known import KnownDivergence, expected
from harness.runner import Runner
from harness.subject import How

DEEPER = {Level.ACCOUNTING, Level.PAGE_TABLES, Level.RSS, Level.SIZE}
"""The levels that cost a look at the whole machine around each program."""

BITS = {
    "cow.no-writable-shared",
    "foll-force.private-only",
    "mprotect.last-one-counts",
    "mprotect.never-breaks-isolation",
}
"""The contracts that are about the writable bit itself, which costs a look from outside."""


COUNTED = {"zero.page-stays-zero"}
"""The contracts that only the faults of each step can tell for sure on a kernel that brings pages in early."""

SHRINK_S = 60.0
"""How long Hypothesis shrinks a finding. Where each program takes seconds, because it hangs, it would take minutes."""

BESIDE_S = 30.0
"""How long, at the end of a run, all is shortened that was found beside what was tested, which Hypothesis does not do."""


class Guest:
    """What a contract sees of the guest: it runs programs."""

    def __init__(
        self, runner: Runner, progress: Progress, findings: Findings, known: Sequence[KnownDivergence] = ()
    ) -> None:
        self.runner = runner
        self.progress = progress
        self.findings = findings
        self.lacking: dict[str, str] = getattr(runner.subject, "lacking", {})
        """What the guest's kernel cannot do: steps that need it are left out."""
        self.known = known
        self.met: Counter[KnownDivergence] = Counter()
        """How often each known divergence was met in the run."""
        self.expected: dict[KnownDivergence, None] = {}
        """Those that the tested contract met."""
        self.level: Level = Level.OUTCOMES
        self.broken: PagepactError | None = None
        self.opened_at = time.monotonic()
        self.contract = ""
        self.whole = False
        """Whether the last program was looked at as deep as the guest can show."""
        self.others: dict[str, Verdict] = {}
        """Contracts that programs drawn for other contracts broke, and the first such finding."""
        self.finding: Verdict | None = None
        """The shortest finding about the tested contract so far."""
        self.examples_to_find: int | None = None
        """Programs up to the first such finding."""
        self.seconds_to_find: float | None = None
        self._programs_before, self._began = 0, 0.0
        runner.listeners.append(self._note)

    def begin(self, entry: Contract, name: str) -> None:
        """Make ready for the contract `entry`, tested by the test called `name`."""
        self.level = entry.level
        self.contract = entry.id
        self.progress.name = name
        self.findings.begin()
        self.runner.begin()
        self.expected.clear()
        self.finding = None
        self.examples_to_find = self.seconds_to_find = None
        self._programs_before, self._began = self.runner.statistics.programs, time.monotonic()

    def _note(self, verdict: Verdict) -> None:
        """Save every finding at once, and count the programs up to the first that breaks the tested contract."""
        entries = expected(verdict, self.known)
        if entries:
            self.met.update(entries)
            if is_about(verdict, self.contract):
                self.expected |= dict.fromkeys(entries)
            return
        contract = broken_contract(verdict, self.contract)
        if is_about(verdict, self.contract):
            self.findings.keep(verdict, contract)
            if self.finding is None or len(verdict.program) < len(self.finding.program):
                self.finding = verdict
            if self.examples_to_find is None:
                self.examples_to_find = max(self.runner.statistics.programs - self._programs_before, 1)
                self.seconds_to_find = time.monotonic() - self._began
        elif contract not in self.others:
            self.findings.keep(verdict, contract, beside=True)
            self.others[contract] = verdict

    def run(self, program: Program, *, then: Program | None = None, whole: bool = False) -> Verdict:
        """Run `program` and compare it with what the contracts allow: as deep as the tested contract asks for, or with
        the `whole` of what the guest can show. Where it conforms `then` runs after it, and the verdict is about that.

        Raises RigError where our own side fails; once that happened, every later call raises it again. Once there was a
        finding and the time to shrink it is over, Hypothesis learns nothing of programs that are new.
        """
        if self.broken is not None:
            raise self.broken
        self.whole = whole
        program = within(program, self.lacking.keys())
        if self._shrank_enough and not self.runner.remembers(program):
            hypothesis.reject()
        try:
            verdict = self.runner.run(program, self._how, then=then and within(then, self.lacking.keys()))
        except (RigError, GuestTrouble) as error:
            self.broken = error
            raise
        self.progress.tick(self.runner.statistics)
        if not verdict.conforms and self.examples_to_find is None and is_about(verdict, self.contract):
            self._note(verdict)  # it was run for an earlier contract, so that the runner does not tell of it again
        if not verdict.conforms and expected(verdict, self.known):
            return Verdict(verdict.program, verdict.trace)  # a contract goes on looking for what is not known
        return verdict

    @property
    def _how(self) -> How:
        """What to look at for the tested contract."""
        return How(
            accounting=self.whole or self.level in DEEPER,
            count_faults=self.whole or self.level is Level.ACCOUNTING or self.contract in COUNTED,
            pte_bits=self.whole or self.contract in BITS,
        )

    @property
    def _shrank_enough(self) -> bool:
        if self.seconds_to_find is None or not hypothesis.currently_in_test_context():
            return False
        return time.monotonic() - self._began > self.seconds_to_find + SHRINK_S

    def shorten_others(self, but: Collection[str]) -> None:
        """Keep the shortest program that is left of each finding beside what was tested, `but` of these contracts."""
        self.whole = True
        end = time.monotonic() + BESIDE_S
        for contract, verdict in list(self.others.items()):
            if contract not in but:
                self.findings.keep(self.shortened(verdict, contract, end=end), contract, beside=True)

    def shortened(self, verdict: Verdict, contract: str, *, end: float = math.inf) -> Verdict:
        """Give the verdict of the shortest program that is left of this one, and breaks the same contract; or of one that
        is as short as was found until the monotonic time `end`.

        Hypothesis shrinks what it draws, and where an echo of an operation is all that matters, the operation stays; nor
        does it draw the canary. What was seen once only stays as it is, and so do the programs that have to run before.
        """
        if not verdict.reproduced:
            return verdict
        best = verdict

        def fails(program: Program) -> bool:
            nonlocal best
            if time.monotonic() > end:
                return False
            if verdict.after:
                found = self.runner.run_sequence([*verdict.after, program], self._how)
            else:
                found = self.run(program, whole=self.whole)
            if not found.breaks(contract) or found.after != verdict.after or not found.reproduced:
                return False
            best = found
            return True

        with suppress(RigError, GuestTrouble):  # the finding stands, as long as it is
            shorten(verdict.program, fails)
        return best

    def close(self) -> None:
        """End the guest."""
        self.runner.close()


class GuestPlugin:
    """Opens the guest, skips what it cannot show, and seeds each contract."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.opened: Guest | None = None
        self.failure: PagepactError | None = None
        self.skipped: dict[str, str] = {}

    def guest(self) -> Guest:
        """Give the guest, opening it where need be. Raises what went wrong the first time, again."""
        if self.failure is not None:
            raise self.failure
        if self.opened is None:
            option = self.config.getoption
            kernel = option("--kernel")
            try:
                runner = open_runner(
                    option("--guest"),
                    kernel=Path(kernel) if kernel else None,
                    faults=tuple(option("--fault")),
                    arch=option("--arch"),
                    append=option("--append"),
                )
            except PagepactError as error:
                self.failure = error
                raise
            known = known_divergences(self.config)
            self.opened = Guest(runner, Progress(self.config), Findings(self.config), known)
        return self.opened

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Get the guest ready for a contract, or skip it with the reason."""
        marker = item.get_closest_marker("contract")
        if marker is None:
            return
        entry: Contract = marker.args[0]
        item.user_properties.append(("contract", entry.id))
        guest = self.guest()
        guest.begin(entry, item.name)
        if guest.broken is not None:
            guest.runner.restore()
            guest.broken = None
        if entry.level not in guest.runner.subject.levels:
            missing: dict[Level, str] = getattr(guest.runner.subject, "missing", {})
            reason = f"needs {entry.level}: {missing.get(entry.level, 'the guest does not show it')}"
            self.skipped[entry.id] = reason
            pytest.skip(reason)
        lacking = needed_by(getattr(item, "obj", None)) & guest.lacking.keys()
        if lacking:
            reason = ", ".join(f"{word} ({guest.lacking[word]})" for word in sorted(lacking))
            self.skipped[entry.id] = f"the guest's kernel cannot {reason}"
            pytest.skip(self.skipped[entry.id])
        self._seed(item)

    def _seed(self, item: pytest.Item) -> None:
        """Give each contract, and each shard of one, programs of its own that the run's seed determines."""
        digest = hashlib.sha256(f"{run_seed(self.config)} {item.nodeid}".encode()).digest()
        function: Any = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(function):
            hypothesis.seed(int.from_bytes(digest[:8], "big"))(getattr(function, "__func__", function))

    def close(self) -> None:
        """End the guest, if it was opened."""
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def pytest_unconfigure(self) -> None:
        """End the guest, however the run ends."""
        self.close()


def violation_of(excinfo: pytest.ExceptionInfo[BaseException] | None) -> ContractViolation | None:
    """Give the violation that a test failed with, if it did."""
    if excinfo is not None and isinstance(excinfo.value, ContractViolation):
        return excinfo.value
    return None
