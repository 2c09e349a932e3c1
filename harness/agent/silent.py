"""What a kernel says of a process that no longer answers: whether it sleeps or runs, where, and what it has spent.

The agent sends /proc/PID/stat, wchan, syscall and stack as they are; a kernel may have none of them, or write nonsense.
Nothing is judged by them: they are for whoever looks for the reason. Source: proc(5).
"""

from __future__ import annotations

from dataclasses import dataclass

_STATES = {
    "R": "is running or ready to",
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
        words = self.stat.rpartition(")")[2].split()
        if not words or words[0] not in _STATES:
            return []
        sentence = f"the kernel says that {self.process} {_STATES[words[0]]}{self._where()}{_spent(words)}"
        return [sentence, *(line.strip() for line in self.stack.splitlines() if line.strip())]

    def _where(self) -> str:
        function, number = self.wchan.strip(), self.syscall.split()[:1]
        said = f" in {function}" if function not in ("", "0") else ""
        return said + (f", in system call {number[0]}" if number and number[0].isdecimal() else "")


def _spent(words: list[str]) -> str:
    """Tell what a process has used up since it came to be: that of an endless loop is much."""
    try:
        faults, user, system = (int(words[at]) for at in (_FAULTS, _USER, _SYSTEM))
    except (ValueError, IndexError):
        return ""
    spent = f"{user / _TICKS:.1f} s outside the kernel, {system / _TICKS:.1f} s in it and {faults:,} faults"
    return f", after {spent}"
