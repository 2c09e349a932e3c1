"""The parent of `bench` workers: rounds with one worker and with two, by turns, and the rates of both.

By turns, since a machine that others use is slow for minutes at a time: what is compared was measured
side by side. The second worker sleeps while the first runs alone.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.commands.bench_table import Measurement, Target
from harness.commands.bench_worker import STAGES, Round
from harness.commands.children import Children
from harness.errors import RigError

ROUNDS = 5
READY_S = 1200.0
"""A first run may have to fetch the kernel."""
GRACE_S = 120.0
"""How much longer than its time a round may take: its last example may end in a hang of the guest."""
WORKER_SEEDS = 1_000_000

WORDS = {
    "draw": "drawing programs (Hypothesis)",
    "hand over": "handing them over (bench only)",
    "guest": "waiting for the guest",
    "code": "encoding and decoding",
    "compare": "model and comparison",
    "restore": "restoring the guest",
}


class RemoteWorker:
    """A worker in a process of its own; see `harness.commands.bench_worker`."""

    def __init__(self, children: Children, guest: str, number: int) -> None:
        self._children = children
        command = [sys.executable, "-m", "harness", "bench", "--worker", str(number * WORKER_SEEDS)]
        self._process = children.start([*command, "--guest", guest], stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_ready(self) -> dict[str, Any]:
        """Wait until the guest is up. Returns its header and levels. Raises RigError."""
        return self._answer(READY_S)

    def begin(self, seconds: float) -> None:
        """Have it run examples; `wait_round` gives the outcome."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RigError(f"a worker of bench ended: {self._last_words()}") from None

    def wait_round(self, seconds: float) -> Round:
        """Wait for a round of so many seconds. Raises RigError where the worker ended, or hangs."""
        return Round(**self._answer(seconds + GRACE_S))

    def end(self) -> None:
        """End the worker and its guest."""
        self._children.end(self._process)

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        if not ready:
            raise RigError(f"a worker of bench did not answer within {timeout_s:g} s")
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise RigError(f"a worker of bench ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        lines = self._process.stderr.read().decode(errors="replace").splitlines()
        said = [line.removeprefix("pagepact: ") for line in lines if not line.startswith("    |")]
        return said[-1] if said else "it said nothing"


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured by turns: each of `alone` beside one of `together`."""

    alone: tuple[Round, ...]
    together: tuple[tuple[Round, ...], ...]

    @property
    def all(self) -> list[Round]:
        """Every round of every worker."""
        return [*self.alone, *(each for pair in self.together for each in pair)]


def run_rounds(workers: Sequence[RemoteWorker], seconds: float) -> Rounds:
    """Measure one worker and all of them, `seconds` each in all. Raises RigError."""
    alone, together = [], []
    for _ in range(ROUNDS):
        alone += _round(workers[:1], seconds / ROUNDS)
        together.append(tuple(_round(workers, seconds / ROUNDS)))
    return Rounds(tuple(alone), tuple(together))


def _round(workers: Sequence[RemoteWorker], seconds: float) -> list[Round]:
    for worker in workers:
        worker.begin(seconds)
    return [worker.wait_round(seconds) for worker in workers]


def rate(rounds: Sequence[Round]) -> float:
    """Give the examples a second of workers that ran side by side, over the time in which all did."""
    began = max(each.began for each in rounds)
    ended = min(each.finished[-1] for each in rounds)
    count = sum(began < moment <= ended for each in rounds for moment in each.finished)
    return count / (ended - began)


def round_measurements(rounds: Rounds) -> list[Measurement]:
    """Make what the rounds showed into measurements."""
    one = [rate([each]) for each in rounds.alone]
    two = [rate(pair) for pair in rounds.together]
    ratios = [both / single for both, single in zip(two, one, strict=True)]
    return [
        *_mix(rounds.all),
        Measurement("one worker", "examples/s", tuple(one), Target(60, at_least=True, aim=120)),
        Measurement("two workers", "examples/s", tuple(two)),
        Measurement("two workers to one", "", tuple(ratios), Target(1.8, at_least=True)),
        *_shares(rounds.alone),
        *_memory(rounds.all),
    ]


def _mix(rounds: Sequence[Round]) -> list[Measurement]:
    def mean(name: str) -> tuple[float, ...]:
        total: float = sum(getattr(each, name) for each in rounds)
        return (total / sum(len(each.finished) for each in rounds),)

    count = sum(len(each.finished) for each in rounds)
    return [
        Measurement("mix: steps", "a program", mean("steps"), Target(12, at_least=True), f"of {count:,}"),
        Measurement("mix: processes", "a program", mean("processes"), Target(2.5, at_least=True)),
        Measurement("mix: observations", "a program", mean("observations")),
    ]


def _shares(rounds: Sequence[Round]) -> list[Measurement]:
    found = []
    for stage in STAGES:
        shares = [100 * each.stages[stage] / sum(each.stages.values()) for each in rounds]
        seconds = sum(each.stages[stage] for each in rounds)
        each_ms = 1000 * seconds / sum(len(each.finished) for each in rounds)
        found.append(Measurement(f"  {WORDS[stage]}", "%", tuple(shares), note=f"{each_ms:.2f} ms an example"))
    return found


def _memory(rounds: Sequence[Round]) -> list[Measurement]:
    used = [each.resident_bytes / 1e6 for each in rounds if each.resident_bytes is not None]
    if not used:
        return []
    return [Measurement("host memory of a guest", "MB", tuple(used), Target(250, at_least=False))]
