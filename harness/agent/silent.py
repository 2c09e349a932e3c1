"""What a kernel says of a process that no longer answers: whether it sleeps or runs, where, and what it has spent.

The agent sends /proc/PID/stat, wchan, syscall and stack as they are; a kernel may have none of them, or write nonsense.
They are for whoever looks for the reason, and no contract is judged by them. One thing is decided: a process that was ready
to run and was not run is given more time before its silence counts. Source: proc(5).
"""

from __future__ import annotations

from dataclasses import dataclass

_READY = "R"
_STATES = {
    _READY: "is running or ready to",
    "S": "sleeps",
    "D": "waits for what no signal ends",
    "T": "is stopped",
    "t": "is stopped",
    "Z": "has ended",
    "X": "has ended",
}
_FAULTS, _USER, _SYSTEM = 7, 11, 12  # words behind the name: minflt, utime, stime
_TICKS = 100  # in a second: what utime and stime are in, on every Linux ABI here (USER_HZ)


@dataclass(frozen=True)
class Silent:
    """The files of `process` (p0, p1, …) as text; empty where there was none."""

    process: str
    stat: str
    wchan: str
    syscall: str
    stack: str

    def lines(self) -> list[str]:
        """Say it, in one sentence and with the stack below it; nothing where the kernel says nothing."""
        words = self._words()
        if not words:
            return []
        sentence = f"the kernel says that {self.process} {_STATES[words[0]]}{self._where()}{_said(_spent(words))}"
        return [sentence, *(line.strip() for line in self.stack.splitlines() if line.strip())]

    def is_kept_waiting(self, patience_s: float) -> bool:
        """Tell whether it is ready to run and has had the CPU for less than half of the `patience_s` that it was given.

        It does not sleep, so nothing is known that it waits for in vain; nor is it in a loop.
        """
        words = self._words()
        spent = _spent(words)
        return bool(words) and words[0] == _READY and spent is not None and spent[0] + spent[1] < patience_s / 2

    def _words(self) -> list[str]:
        """Give the words of stat that follow the name; none where they make no sense."""
        words = self.stat.rpartition(")")[2].split()
        return words if words and words[0] in _STATES else []

    def _where(self) -> str:
        function, number = self.wchan.strip(), self.syscall.split()[:1]
        said = f" in {function}" if function not in ("", "0") else ""
        return said + (f", in system call {number[0]}" if number and number[0].isdecimal() else "")


def _spent(words: list[str]) -> tuple[float, float, int] | None:
    """Tell what a process has used up since it came to be: seconds outside the kernel and in it, and faults."""
    try:
        faults, user, system = (int(words[at]) for at in (_FAULTS, _USER, _SYSTEM))
    except (ValueError, IndexError):
        return None
    return user / _TICKS, system / _TICKS, faults


def _said(spent: tuple[float, float, int] | None) -> str:
    """Say it: that of an endless loop is much."""
    if spent is None:
        return ""
    user, system, faults = spent
    return f", after {user:.1f} s outside the kernel, {system:.1f} s in it and {faults:,} faults"
