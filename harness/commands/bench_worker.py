"""One worker of `bench`: a guest of its own, a stream of drawn programs, and a watch on each stage.

The worker is a process, `python -m harness bench --worker`. It says on standard output, as one line of
JSON, when it is ready; then each line `SECONDS` on its standard input makes it run programs for so long,
and answer with a `Round`. It ends with its standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from harness.agent.client import Link
from harness.commands.children import Children
from harness.errors import RigError
from harness.guests import MachineSubject, open_subject, semantics_of
from harness.program.abilities import within
from harness.program.levels import Level
from harness.program.ops import Observe
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Trace
from harness.runner import Runner
from harness.subject import How, Subject

WARM_UP = 50
"""Programs before the first round: QEMU translates the kernel's code when it first runs."""

STAGES = ("draw", "hand over", "guest", "code", "compare", "restore")
"""Where the time of an example goes.

draw        Hypothesis draws the program, in the process of the stream
hand over   the program comes here as text, and is read (only `bench` pays for that)
guest       the guest runs: from the request on the console to the end of its answer
code        the host encodes the program and decodes the trace
compare     the model runs, and the trace is compared
restore     the guest goes back to its snapshot, every 400 programs and after findings
"""


class Watch(defaultdict[str, float]):
    """Seconds, by what they were spent on; some lie within others, and are subtracted at the end."""

    def __init__(self) -> None:
        super().__init__(float)


@dataclass(slots=True)
class Round:
    """What a worker did in one go. Times are those of the clock that all processes share (monotonic)."""

    began: float
    finished: list[float] = field(default_factory=list)
    """When each example was done."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage; together they are the round."""
    steps: int = 0
    processes: int = 0
    observations: int = 0
    findings: int = 0
    resident_bytes: int | None = None
    """Host memory of the guest, where the guest is a machine."""


class TimedLink:
    """A link that notes how long the guest took."""

    def __init__(self, link: Link, watch: Watch) -> None:
        self._link = link
        self._watch = watch

    def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        """Pass the request on."""
        began = time.perf_counter()
        try:
            return self._link.request(payload, timeout_s=timeout_s)
        finally:
            self._watch["link"] += time.perf_counter() - began

    @property
    def last_step(self) -> int | None:
        """What the link says."""
        return self._link.last_step

    @property
    def starved_s(self) -> float:
        """What the link says."""
        return self._link.starved_s


class TimedSubject:
    """A subject that notes how long programs, and restores, took."""

    def __init__(self, subject: Subject, watch: Watch) -> None:
        self._subject = subject
        self._watch = watch
        self.name: str = subject.name
        self.levels: frozenset[Level] = subject.levels
        self.semantics: str = subject.semantics

    def execute(self, program: Program, how: How) -> Trace:
        """Run the program."""
        began = time.perf_counter()
        try:
            return self._subject.execute(program, how)
        finally:
            self._watch["execute"] += time.perf_counter() - began

    def restore(self) -> None:
        """Restore; what the link says meanwhile is no example's."""
        began, link = time.perf_counter(), self._watch["link"]
        try:
            self._subject.restore()
        finally:
            self._watch["restore"] += time.perf_counter() - began
            self._watch["link"] = link

    def close(self) -> None:
        """Close it."""
        self._subject.close()

    def header(self) -> list[str]:
        """Give its header."""
        return self._subject.header()


class ProgramStream:
    """Programs of the standard mix, drawn one by one in a process of the layer that may draw."""

    def __init__(self, children: Children, seed: int, *, count: int = 10**9) -> None:
        command = [sys.executable, "-m", "strategies.stream", "--on-request"]
        command += ["--seed", str(seed), "--count", str(count)]
        self._process = children.start(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def next(self) -> tuple[Program, float]:
        """Give a program, and the seconds that drawing it took. Raises RigError where the stream ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RigError("the stream of programs ended; try: python -m strategies.stream") from None
        lines = []
        while not (line := self._process.stdout.readline()).startswith(b"---"):
            if not line:
                raise RigError("the stream of programs ended; try: python -m strategies.stream")
            lines.append(line)
        return parse_program(b"".join(lines).decode("ascii")), float(line.split()[1])


class Worker:
    """Runs rounds of examples on a subject. `draw` gives a program and what drawing it took."""

    def __init__(self, subject: Subject, draw: Callable[[], tuple[Program, float]]) -> None:
        self.subject = subject
        self._draw = draw
        self._lacking: dict[str, str] = getattr(subject, "lacking", {})
        self._watch = Watch()
        if isinstance(subject, MachineSubject):
            subject.client.link = TimedLink(subject.client.link, self._watch)
        self._runner = Runner(TimedSubject(subject, self._watch), semantics_of(subject))

    def run(self, seconds: float) -> Round:
        """Run examples for so long, at least one."""
        self._watch.clear()
        done = Round(began=time.monotonic())
        findings = self._runner.statistics.findings
        while not done.finished or done.finished[-1] - done.began < seconds:
            self._example(done)
        done.findings = self._runner.statistics.findings - findings
        done.stages = self._stages()
        if isinstance(self.subject, MachineSubject):
            done.resident_bytes = self.subject.session.resident_bytes
        return done

    def _example(self, done: Round) -> None:
        began = time.perf_counter()
        program, drawing = self._draw()
        drawn = time.perf_counter()
        program = within(program, self._lacking.keys())
        self._runner.run(program)
        self._watch["run"] += time.perf_counter() - drawn
        self._watch["draw"] += drawing
        self._watch["fetch"] += drawn - began
        done.steps += len(program)
        done.processes += program.processes
        done.observations += 1 + sum(isinstance(op, Observe) for op in program.steps)
        done.finished.append(time.monotonic())

    def _stages(self) -> dict[str, float]:
        watch = self._watch
        guest = watch["link"] if isinstance(self.subject, MachineSubject) else watch["execute"]
        return {
            "draw": watch["draw"],
            "hand over": max(0.0, watch["fetch"] - watch["draw"]),
            "guest": guest,
            "code": watch["execute"] - guest,
            "compare": watch["run"] - watch["execute"] - watch["restore"],
            "restore": watch["restore"],
        }


def serve(guest: str, seed: int, orders: TextIO, answers: TextIO) -> None:
    """Be a worker until `orders` ends. Raises what opening or running the guest raises."""
    with Children() as children, closing(open_subject(guest)) as subject:
        worker = Worker(subject, ProgramStream(children, seed).next)
        for _ in range(WARM_UP):
            worker.run(0.0)
        _answer(answers, {"header": subject.header(), "levels": sorted(map(str, subject.levels))})
        for order in orders:
            _answer(answers, asdict(worker.run(float(order))))


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()
