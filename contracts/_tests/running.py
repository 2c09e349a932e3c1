"""Runs `pytest contracts` as a person does, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0  # for a machine under load; nothing waits for it


@dataclass(frozen=True)
class Ran:
    """What a run said, and left behind in `folder`."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def results(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "results.json").read_text())
        return found

    @property
    def failures(self) -> list[Path]:
        return sorted((self.folder / "failures").glob("*.prog"))


def command(folder: Path, *arguments: str) -> list[str]:
    """A run on the guest `model` that leaves failures, JSON and JUnit files in `folder`."""
    places = ["--failures", str(folder / "failures"), "--json", str(folder / "results.json")]
    places += ["--junitxml", str(folder / "junit.xml"), "-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", "contracts", "--guest", "model", *places, *arguments]


def environment() -> dict[str, str]:
    """Ours, without what an outer pytest put into it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return kept | {"PYTEST_ADDOPTS": "", "COLUMNS": "120"}


def run(folder: Path, *arguments: str, plugin: str = "", env: dict[str, str] | None = None) -> Ran:
    """Run to the end, in a process group of its own that ends with it, in time or not.

    `plugin` is the text of a pytest plugin for the run, which may so misbehave to order.
    """
    chosen = list(arguments)
    surroundings = environment() | (env or {})
    if plugin:
        (folder / "plugin_of_test.py").write_text(plugin)
        surroundings["PYTHONPATH"] = str(folder)
        chosen += ["-p", "plugin_of_test"]
    started = start(folder, *chosen, env=surroundings)
    try:
        out, err = started.communicate(timeout=PATIENCE_S)
    finally:
        end_group(started)
    return Ran(started.returncode, out, err, folder)


def start(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a run as the head of a process group."""
    return subprocess.Popen(
        command(folder, *arguments), cwd=ROOT, env=env or environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end_group(started: subprocess.Popen[str]) -> None:
    """End what is left of a run and its children; nothing, if all is well."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def living_members(group: int) -> list[int]:
    """List the processes of a group that live; those that nobody has reaped yet are dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if state not in "ZX" and int(its_group) == group:
                found.append(int(stat.parent.name))
    return found
