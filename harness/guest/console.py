"""A guest's console as lines, with deadlines, a bounded memory, and an eye for kernel trouble.

The bytes come from a `ByteStream`: pexpect's `SocketSpawn` over QEMU's serial port, or the in-memory
twin of the tests. `pexpect.expect` itself is not used: its search begins anew with every chunk, which is
quadratic where the guest floods the console. Cutting lines by hand is linear, and one line never takes
more than `MAX_LINE` bytes however long the guest goes without an end of line.

All deadlines are absolute, in seconds of `clock` (`time.monotonic` for a machine).
"""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import pexpect
from pexpect.socket_pexpect import SocketSpawn

from harness.errors import GuestDied, GuestHung, GuestPanicked

CHUNK = 65536
MAX_LINE = 8192  # more than the longest message line with log text in front of it
LOG_EVERY_S = 0.05  # how long a panic on the kernel's own port may go unseen
TAIL_LINES = 200
TAIL_WIDTH = 500
SILENCE_AFTER_PANIC_S = 0.3
LONGEST_PANIC_S = 3.0
_MOST_PANIC_LINES = 1000  # an oops in a loop must not hold the evidence back
_BEFORE_PANIC_LINES = 30  # of the tail: a page is dumped, with who allocated it, before the kernel says why
_MOST_WARNINGS = 5
_WARNING = re.compile(r"\bWARNING: |\bBUG: (sleeping function|scheduling while atomic|using )|INFO: ")
_END_OF_LINE = re.compile(rb"[\r\n]+")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class StreamEnded(Exception):
    """The other end of a stream closed it."""


class ByteStream(Protocol):
    """Where a console's bytes come from and go to."""

    def clock(self) -> float:
        """Return the time that deadlines are in, in seconds."""

    def read(self, size: int, timeout_s: float) -> bytes:
        """Return 1 to `size` bytes, or none at all after `timeout_s`; StreamEnded at the end."""

    def write(self, data: bytes, timeout_s: float) -> None:
        """Send all of `data`; TimeoutError where the guest takes none; StreamEnded at the end."""

    def close(self) -> None:
        """Give the stream up."""


class SocketStream:
    """A connected socket, read through pexpect."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._spawn = SocketSpawn(connected, maxread=CHUNK, searchwindowsize=MAX_LINE, encoding=None)
        self._spawn.delaybeforesend = None

    def clock(self) -> float:
        """Return the machine's monotonic time."""
        return time.monotonic()

    def read(self, size: int, timeout_s: float) -> bytes:
        """Return what has arrived, waiting for at most `timeout_s`."""
        try:
            return bytes(self._spawn.read_nonblocking(size, max(timeout_s, 0)))
        except (pexpect.TIMEOUT, BlockingIOError):
            return b""
        except (pexpect.EOF, ConnectionError):
            raise StreamEnded from None

    def write(self, data: bytes, timeout_s: float) -> None:
        """Send `data` within `timeout_s`: a guest that takes nothing must not stop the host."""
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            self._spawn.send(data)
        except ConnectionError:
            raise StreamEnded from None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Console:
    """Lines from a guest, a bounded tail of what was no message, and the words for its troubles."""

    def __init__(
        self,
        stream: ByteStream,
        panic_patterns: Sequence[str] = (),
        *,
        log: ByteStream | None = None,
        ending: Callable[[], str] = lambda: "the machine stopped, or rebooted, by itself",
    ) -> None:
        """Read `stream`, and beside it `log`, a port where the kernel only logs; `ending` says how a machine that went
        away has ended.
        """
        self._stream = stream
        self._log = log
        self._log_partial = b""
        self._logged: deque[bytes] = deque()
        self._ending = ending
        self._panic = [re.compile(pattern) for pattern in panic_patterns]
        self._lines: deque[bytes] = deque()
        self._partial = bytearray()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._ended = False
        self._room: int | None = None  # once the kernel has complained: how many lines more are kept
        self.warnings: list[str] = []
        self.booting = False

    def clock(self) -> float:
        """Return the time that deadlines are in, in seconds."""
        return self._stream.clock()

    def send(self, data: bytes, *, deadline: float) -> None:
        """Send `data`; GuestHung where the guest takes none of it, GuestDied where it is gone."""
        try:
            self._stream.write(data, deadline - self.clock())
        except TimeoutError:
            raise self.hung("the guest's console takes no more input") from None
        except StreamEnded:
            raise self._died() from None

    def read_line(self, *, deadline: float) -> bytes | None:
        """Return the next line that is not empty, without its end; None at the deadline.

        Raises GuestDied at the end of the stream, GuestPanicked where the last words were a panic.
        """
        while not self._lines:
            if self._ended:
                raise self._died()
            if not self._fill(deadline - self.clock()) and self.clock() >= deadline:
                return None
        return self._lines.popleft()

    def log(self, line: bytes) -> None:
        """Take `line` as log text: into the tail, and GuestPanicked where it is kernel trouble.

        While `booting` is set, a warning is only noted in `warnings`: kernels under development warn in
        some driver at boot, and are worth testing all the same.
        """
        if self._room is not None:
            self._keep_after_panic(line)
            return
        text = self._keep(line)
        if not text or not self._is_panic(text):
            return
        if self.booting and _WARNING.search(text):
            self.warnings = [*self.warnings, text[:TAIL_WIDTH]][:_MOST_WARNINGS]
            return
        self._drain_after_panic()
        raise GuestPanicked(text.strip(), console=self.tail())

    def drain(self, seconds: float) -> None:
        """Log everything that arrives within `seconds`; raises as `log` and `read_line` do."""
        deadline = self.clock() + seconds
        while (line := self.read_line(deadline=deadline)) is not None:
            self.log(line)
            if self.clock() >= deadline:
                break

    def tail(self) -> str:
        """Return the last lines that the guest printed beside its messages."""
        unfinished = _printable(bytes(self._partial))[:TAIL_WIDTH]
        return "\n".join([*self._tail, unfinished] if unfinished else self._tail)

    def last_words(self) -> str:
        """Return the last line of the tail, or the unfinished line, for a message to a person.

        Where a guest prints the same line over and over, the line says more than the beginning of the next.
        """
        last = self.tail().rpartition("\n")[2]
        begins_again = self._partial and self._tail and self._tail[-1].startswith(last)
        return self._tail[-1] if begins_again else last

    def hung(self, message: str) -> GuestHung:
        """Return the error for a deadline that passed, with the tail so far."""
        return GuestHung(message, console=self.tail())

    def close(self) -> None:
        """Give the stream up."""
        self._stream.close()
        if self._log is not None:
            self._log.close()

    def _fill(self, timeout_s: float) -> bool:
        """Read one chunk and cut it into lines; whether anything came. Where there is a log, its turn comes often."""
        try:
            if self._log is None:
                chunk = self._stream.read(CHUNK, max(timeout_s, 0))
            else:
                chunk = self._stream.read(CHUNK, min(max(timeout_s, 0), LOG_EVERY_S))
                self._read_log(self._log)
        except StreamEnded:
            self._end()
            return True
        if chunk:
            self._cut(chunk)
        return bool(chunk)

    def _read_log(self, log: ByteStream) -> None:
        """Take in what the kernel logged on its own port; raises what `log` raises."""
        try:
            chunk = log.read(CHUNK, 0)
        except StreamEnded:
            self._log, chunk = None, b"\n"
        *whole, rest = _END_OF_LINE.split(self._log_partial + chunk)
        self._log_partial = rest[-MAX_LINE:]
        self._logged += whole
        while self._logged:
            self.log(self._logged.popleft())

    def _cut(self, chunk: bytes) -> None:
        *whole, rest = _END_OF_LINE.split(chunk)
        for piece in whole:
            self._add(piece)
            self._flush()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._partial += piece
        while len(self._partial) >= MAX_LINE:
            self._lines.append(bytes(self._partial[:MAX_LINE]))
            del self._partial[:MAX_LINE]

    def _flush(self) -> None:
        if self._partial:
            self._lines.append(bytes(self._partial))
            self._partial.clear()

    def _end(self) -> None:
        self._ended = True
        self._flush()

    def _keep(self, line: bytes) -> str:
        text = _printable(line)
        if text:
            self._tail.append(text[:TAIL_WIDTH])
        return text

    def _keep_after_panic(self, line: bytes) -> None:
        if self._room and self._keep(line):
            self._room -= 1

    def _is_panic(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._panic)

    def _drain_after_panic(self) -> None:
        """Collect the backtrace: until the end, or silence, or too much of it.

        A kernel whose counts are wrong goes on complaining; what it said first is kept, with what came right before.
        """
        latest = self.clock() + LONGEST_PANIC_S
        self._room = TAIL_LINES - _BEFORE_PANIC_LINES
        for _ in range(_MOST_PANIC_LINES):
            if not self._lines:
                now = self.clock()
                if self._ended or now >= latest or not self._fill(min(SILENCE_AFTER_PANIC_S, latest - now)):
                    break
            if self._lines:
                self.log(self._lines.popleft())

    def _died(self) -> GuestDied:
        return GuestDied(self._ending(), console=self.tail())


def _printable(line: bytes) -> str:
    """Return `line` as text for a person: no colours, no control characters, all else escaped."""
    text = _COLOURS.sub("", line.decode("utf-8", "backslashreplace"))
    return "".join(char if char.isprintable() else " " for char in text).strip()
