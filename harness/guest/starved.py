"""How long a machine wanted a CPU of the host and had none: time that nobody may hold against its guest.

A guest's silence is judged by a clock: so long without an answer is a hang. On a host with more work than CPUs that clock
runs on while QEMU waits in the host's queue, and a right kernel would be called hung. Linux says of each thread how long it
was ready to run and did not (the second number of /proc/PID/task/TID/schedstat, in nanoseconds;
Documentation/scheduler/sched-stats.rst), so that it can be told apart from a guest that sleeps. Where a host says nothing,
nothing is known to have been lost.
"""

from __future__ import annotations

from pathlib import Path


class Starvation:
    """What the threads of process `pid` have lost since `mark`, in seconds."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._tasks = proc / str(pid) / "task"
        self._marked: dict[str, int] = {}

    def mark(self) -> None:
        """Count from now on."""
        self._marked = self._delays()

    def seconds(self) -> float:
        """How long the thread that lost most has waited for a CPU since the mark.

        The guest gets on only when all threads do that have something to do for it; their waits may overlap, so they are
        not added up.
        """
        lost = (delay - self._marked.get(thread, 0) for thread, delay in self._delays().items())
        return max(lost, default=0) / 1e9

    def _delays(self) -> dict[str, int]:
        """Nanoseconds by thread; those that cannot be read are left out."""
        delays = {}
        for stat in self._tasks.glob("*/schedstat"):
            try:
                delays[stat.parent.name] = int(stat.read_text("ascii").split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has just ended, or this kernel counts nothing
        return delays
