"""Processes that a command starts to work for it: none is left when the command ends, however it ends.

They die with this process (see `harness.guest.child`); where a command is only interrupted, `Children`
ends them, and all that they started in their session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.errors import RigError
from harness.guest.child import start_child

ROOT = Path(__file__).parents[2]
"""The folder of the project, from which its parts are run by name."""

INTERRUPTED = "interrupted"
"""Why a process was cut, where somebody pressed Ctrl-C."""

FOREIGN = ("PYTEST_", "HYPOTHESIS_")
"""Prefixes of environment variables that would change what a child does behind our back."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended: its exit status (negative: the signal) and all that it printed.

    `cut` says why it was asked to end before it had done its work, where it was.
    """

    status: int
    output: str
    cut: str = ""

    def last_line(self) -> str:
        """Give the last line that is not empty, which is mostly the one that says what went wrong."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else "it printed nothing"


class Children:
    """The processes of one command: a context manager with which they end. Threads may share it."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a process in the project's folder. `environment` is added to ours.

        Raises RigError where it cannot be started, or everything has been stopped.
        """
        with self._guard:
            if self._stopped:
                raise RigError("the command is ending, and starts no more processes")
            try:
                child = start_child(
                    [*command],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=str(ROOT),
                    environment=_clean() | dict(environment or {}),
                )
            except OSError as error:
                raise RigError(f"a process cannot be started: {error.strerror or error}") from error
            self._running.add(child)
            return child

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        timeout_s: float,
        heed: Callable[[str], None] | None = None,
        patience_s: float = 0.0,
    ) -> Ended:
        """Run a process to its end; each line that it prints goes to `heed`.

        Raises RigError where it takes longer than `timeout_s`. With `patience_s` it is asked to end then (SIGINT), and on
        Ctrl-C, and has so long to write down how far it came.
        """
        child = self.start(command, environment=environment, stderr=subprocess.STDOUT)
        lines: list[str] = []
        reader = threading.Thread(target=_read_lines, args=(child, lines, heed), daemon=True)
        reader.start()
        cut = ""
        try:
            try:
                child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                cut = f"its time was over after {timeout_s / 60:.1f} min"
                if not patience_s:
                    raise RigError(f"a process was ended after {timeout_s:g} s: {' '.join(command)}") from None
            except KeyboardInterrupt:
                cut = INTERRUPTED
                if not patience_s:
                    raise
            if cut:
                child.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(patience_s)
            else:
                reader.join()
        finally:
            self.end(child)
        return Ended(child.returncode, "".join(lines), cut)

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """End one process, and what it started; where it has ended already, forget it."""
        with self._guard:
            self._running.discard(child)
        if child.poll() is None:  # else its number may by now be another's
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with suppress(OSError):  # nobody reads what stdin still holds
                    pipe.close()

    def stop(self) -> None:
        """End all, and start no more."""
        with self._guard:
            self._stopped = True
            running = [*self._running]
        for child in running:
            self.end(child)

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _read_lines(child: subprocess.Popen[bytes], lines: list[str], heed: Callable[[str], None] | None) -> None:
    """Take in what `child` prints, up to its end."""
    assert child.stdout is not None
    with suppress(ValueError):  # closed, where what it started holds the pipe longer than it lives
        for raw in child.stdout:
            lines.append(raw.decode(errors="replace"))
            if heed is not None:
                heed(lines[-1])


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
