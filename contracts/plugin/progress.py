"""Progress of long runs: how many programs, how fast, where; from this process or from every worker.

A worker writes its numbers to a small file now and then; whoever owns the terminal adds them up.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from harness.runner import Statistics

WRITE_EVERY_S = 1.0
SHOW_EVERY_S = 10.0


class Progress:
    """Keeps the numbers of one process current."""

    def __init__(self, config: pytest.Config) -> None:
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.name = ""
        self._terminal = None if worker else config.pluginmanager.getplugin("terminalreporter")
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._file = Path(worker["pagepact_progress"], worker["workerid"]) if worker else None
        self._started = self._written = self._shown = time.monotonic()

    def tick(self, statistics: Statistics) -> None:
        """Note that a program was run; write or show the numbers when it is time."""
        now = time.monotonic()
        if self._file is not None:
            if now - self._written >= WRITE_EVERY_S:
                self._written = now
                self._file.write_text(json.dumps({"programs": statistics.programs, "test": self.name}))
        elif now - self._shown >= SHOW_EVERY_S:
            self._shown = now
            self._show(progress_line(statistics.programs, now - self._started, [self.name]))

    def _show(self, line: str) -> None:
        if self._terminal is None:
            return
        if self._capture is None:
            self._terminal.write_line(line)
            return
        with self._capture.global_and_fixture_disabled():
            self._terminal.ensure_newline()
            self._terminal.write_line(line)


def progress_line(programs: int, seconds: float, tests: list[str]) -> str:
    """Say how far a run is: "… 1,240 programs in 15 s (83/s), now test_x"."""
    rate = programs / seconds if seconds else 0.0
    return f"… {programs:,} programs in {seconds:.0f} s ({rate:.0f}/s), now {', '.join(tests)}"


def read_workers(folder: Path) -> tuple[int, list[str]]:
    """Add up what the workers wrote: (programs, names of the tests that they are in)."""
    programs, tests = 0, []
    for file in sorted(folder.glob("gw*")):
        try:
            numbers = json.loads(file.read_text())
        except (OSError, ValueError):
            continue  # just being written
        programs += numbers["programs"]
        tests.append(numbers["test"])
    return programs, tests
