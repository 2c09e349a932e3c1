"""Findings go to disk the moment they are made, so that a killed run loses none; a shorter one replaces a longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.contract import ANY
from harness.compare.verdict import Verdict
from harness.errors import StorageError
from harness.report.store import FailureStore, replay_command


def broken_contract(verdict: Verdict, tested: str) -> str:
    """Name the contract that a finding is filed under: the tested one, where the verdict breaks it."""
    return verdict.divergences[0].contracts[0] if tested == ANY or not verdict.breaks(tested) else tested


class Findings:
    """The failure files of one process."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self.store = FailureStore(Path(option("--failures")))
        self.guest: str = option("--guest")
        self.faults: tuple[str, ...] = tuple(option("--fault"))
        self.kernel = Path(option("--kernel")) if option("--kernel") else None
        self.arch: str | None = option("--arch")
        self.append: str = option("--append")
        self.trouble: StorageError | None = None
        self._best: dict[str, tuple[int, Path]] = {}
        self._beside: dict[str, tuple[int, Path]] = {}

    def begin(self) -> None:
        """Forget what earlier tests found: their files stay."""
        self._best.clear()

    def keep(self, verdict: Verdict, contract: str, *, beside: bool = False) -> None:
        """Write a finding, unless a shorter one of this test is there; the longer one goes.

        One that lies `beside` what is tested is held against those of the whole run.
        """
        best = self._beside if beside else self._best
        length, older = best.get(contract, (None, None))
        if length is not None and length <= len(verdict.program):
            return
        try:
            path = self.store.save(
                verdict,
                contract=contract,
                guest=self.guest,
                faults=self.faults,
                kernel=self.kernel,
                arch=self.arch,
                append=self.append,
                replaces=older,
            )
        except StorageError as error:
            self.trouble = error
            return
        best[contract] = (len(verdict.program), path)

    def replay(self, verdict: Verdict, contract: str) -> str:
        """Give the command that replays the finding that a test ended with."""
        self.keep(verdict, contract)
        found = self._best.get(contract)
        if found is None:
            return f"(the program could not be saved: {self.trouble})"
        return replay_command(found[1])

    def file(self, contract: str, *, beside: bool = False) -> str:
        """Give the file of this test's finding, or of the run's that lies beside, or why there is none."""
        found = (self._beside if beside else self._best).get(contract)
        return str(found[1]) if found else str(self.trouble)
