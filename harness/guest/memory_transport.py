"""The in-memory twin of a console: an agent written in Python behind the real `Console` and `Channel`.

Time is virtual: a read that finds nothing to read lets all of its timeout pass at once, so that tests of
deadlines take no time. The agent here speaks the framing as the one in C does; what the line does to its
words (noise, cuts, flipped bits, lost or doubled lines) is a function from a line to bytes.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable

from harness.guest.console import StreamEnded
from harness.guest.frames import HELLO, encode_message

Reply = Callable[[bytes], bytes | None]
Line = Callable[[bytes], bytes]
_REQUEST = re.compile(rb"@>([0-9a-f]{4})\.([0-9a-f]{3})\.([0-9a-f]{3})\.([0-9a-f]{8})\.(.*)")


class FakeAgent:
    """An agent that answers requests with `reply(request)`; None is a hang.

    `asides` are bytes that it prints before its next answer. `requests` are those it took, in order.
    """

    def __init__(self, reply: Reply = lambda request: request, *, hello: bytes = b"fake agent") -> None:
        self.requests: list[bytes] = []
        self.asides = b""
        self._reply = reply
        self._pieces: list[bytes] = []
        self._sequence = HELLO
        self._last: list[bytes] = encode_message("<", HELLO, hello)

    def hello(self) -> list[bytes]:
        """Return the lines of the hello."""
        return self._last

    def hear(self, line: bytes) -> list[bytes]:
        """Return the lines that the agent says to one line from the host."""
        if line.startswith(b"@?"):
            known = int(line[2:6], 16) == self._sequence
            return self._last if known else [b"@!" + line[2:6] + b".fff\n"]
        match = _REQUEST.fullmatch(line)
        if match is None:
            return []
        sequence, index, total = (int(match[group], 16) for group in (1, 2, 3))
        place = b"%04x.%03x" % (sequence, index)
        sound = zlib.crc32(b".".join((*match.group(1, 2, 3), match[5]))) == int(match[4], 16)
        if not sound or index not in (0, len(self._pieces)):
            self._pieces = []
            return [b"@!" + place + b"\n"]
        self._pieces = [*(self._pieces if index else []), match[5]]
        if index + 1 < total:
            return [b"@+" + place + b"\n"]
        return self._serve(sequence)

    def _serve(self, sequence: int) -> list[bytes]:
        request = base64.b64decode(b"".join(self._pieces))
        self._pieces = []
        if sequence == self._sequence:
            return self._last
        self.requests.append(request)
        answer = self._reply(request)
        asides, self.asides = self.asides, b""
        if answer is None:
            return [asides] if asides else []
        self._sequence = sequence
        self._last = encode_message("<", sequence, answer)
        return [*([asides] if asides else []), *self._last]


class MemoryTransport:
    """A `ByteStream` between a console and a `FakeAgent`.

    `to_host` and `to_guest` do to each line what a bad line would; `chunk` is how many bytes one read
    gives at most. `sent` holds all lines of the host.
    """

    def __init__(
        self,
        agent: FakeAgent,
        *,
        to_host: Line = lambda line: line,
        to_guest: Line = lambda line: line,
        chunk: int = 65536,
    ) -> None:
        self.now = 0.0
        self.sent: list[bytes] = []
        self.closed = False
        self._agent = agent
        self._to_host = to_host
        self._to_guest = to_guest
        self._chunk = chunk
        self._out = bytearray()
        self._in = bytearray()
        self._ended = False
        self._say(agent.hello())

    def clock(self) -> float:
        """Return the virtual time, in seconds."""
        return self.now

    def print(self, text: bytes) -> None:
        """Let the guest print `text`, untouched."""
        self._out += text

    def end(self) -> None:
        """Let the machine go away, once all is read."""
        self._ended = True

    def read(self, size: int, timeout_s: float) -> bytes:
        """Return what the guest said, or let `timeout_s` pass."""
        if not self._out:
            if self._ended:
                raise StreamEnded
            self.now += timeout_s
            return b""
        size = min(size, self._chunk)
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    def write(self, data: bytes, timeout_s: float) -> None:  # noqa: ARG002 - nothing here blocks
        """Give `data` to the agent, line by line."""
        if self._ended:
            raise StreamEnded
        self._in += self._to_guest(data)
        self.sent.append(data)
        *lines, rest = bytes(self._in).split(b"\n")
        self._in = bytearray(rest)
        for line in lines:
            self._say(self._agent.hear(line))

    def close(self) -> None:
        """Note that the stream was given up."""
        self.closed = True

    def _say(self, lines: list[bytes]) -> None:
        for line in lines:
            self._out += self._to_host(line)
