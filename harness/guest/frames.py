r"""The lines that carry messages over a console which is shared with the kernel's log.

::

    @>0008.000.001.11c0ffee.base64…\n     host to guest: sequence, line, lines, checksum, payload
    @<0008.000.002.8d3f01aa.base64…\n     guest to host
    @+0008.000\n                          the guest took that line of a longer request: send the next
    @!0008.000\n                          that line reached the guest damaged: send the request again
    @!0008.fff\n                          the guest never saw the request 8 complete
    @?0008\n                              the host wants the answer to 8 again
    @~0008.001f\n                         progress: step 0x1f of request 8 begins
    @=\n                                  guest to host: something lies in the mailbox
    @======\n                             host to guest, likewise

The checksum is the CRC-32 of ``0008.000.001.base64…``, that is of all but itself. Line numbers start
at 0. Sequence 0 is the guest's hello. A message is cut after base64, at a multiple of four characters.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass

LINE_PAYLOAD = 1920  # base64 characters a line; a terminal in canonical mode cuts at 4,095
MAX_MESSAGE = 4 * 1024 * 1024  # bytes
MAX_SEQUENCE = 0xFFFF
HELLO = 0
NEVER_SEEN = 0xFFF
UNREADABLE = 0xFFFF
BELL = b"@="
RING = b"@======"
"""A bell of eight bytes with the end of the line: a 16550, as Linux sets it up, interrupts at once for so many, and for
fewer when nothing has followed for the time of four more. Source: UART_FCR_R_TRIG_10, serial_receive1 of QEMU."""

_ANSWER = re.compile(rb"@<([0-9a-f]{4})\.([0-9a-f]{3})\.([0-9a-f]{3})\.([0-9a-f]{8})\.([A-Za-z0-9+/]*={0,2})")
_CONTROL = re.compile(rb"@([+!~])([0-9a-f]{4})\.([0-9a-f]{1,8})(?![0-9a-f])")


@dataclass(frozen=True)
class Frame:
    """One undamaged line of a message from the guest."""

    sequence: int
    index: int
    total: int
    payload: bytes  # base64


@dataclass(frozen=True)
class Control:
    """A short line about a line: `kind` is b"+" (taken), b"!" (damaged) or b"~" (step begins)."""

    kind: bytes
    sequence: int
    number: int


@dataclass(frozen=True)
class Damaged:
    """A line that was part of a message, and is not whole."""


def encode_message(direction: str, sequence: int, message: bytes) -> list[bytes]:
    """Return the lines of `message`, each with its end of line; `direction` is ">" or "<"."""
    text = base64.b64encode(message).decode("ascii")
    pieces = [text[at : at + LINE_PAYLOAD] for at in range(0, len(text), LINE_PAYLOAD)] or [""]
    return [encode_line(direction, sequence, index, len(pieces), piece) for index, piece in enumerate(pieces)]


def encode_line(direction: str, sequence: int, index: int, total: int, payload: str) -> bytes:
    """Return one line of a message."""
    place = f"{sequence:04x}.{index:03x}.{total:03x}."
    checksum = zlib.crc32((place + payload).encode("ascii"))
    return f"@{direction}{place}{checksum:08x}.{payload}\n".encode("ascii")


def decode_line(line: bytes) -> tuple[Frame | Control | Damaged | None, bytes]:
    """Tell what `line` carries (None for log, the terminal's echo and anything else), and the log in it.

    A kernel line without its end may stand in front of a message, or behind one whose end was lost; so
    the marker is looked for everywhere, and of several markers the one with a right checksum counts.
    """
    if b"@" not in line:
        return None, line
    if line in (BELL, RING):
        return None, b""
    for match in _ANSWER.finditer(line):
        frame = _checked(match)
        if frame is not None:
            return frame, _around(match)
    if b"@<" in line:
        return Damaged(), line
    control = _CONTROL.search(line)
    if control is None:
        return None, line
    return Control(control[1], int(control[2], 16), int(control[3], 16)), _around(control)


def _around(match: re.Match[bytes]) -> bytes:
    text = match.string
    return text[: match.start()] + text[match.end() :]


def _checked(match: re.Match[bytes]) -> Frame | None:
    sequence, index, total, checksum, payload = match.groups()
    if zlib.crc32(b".".join((sequence, index, total, payload))) != int(checksum, 16):
        return None
    return Frame(int(sequence, 16), int(index, 16), int(total, 16), payload)


def decode_payload(pieces: list[bytes]) -> bytes | None:
    """Return the message that `pieces` make; None where they are no base64 text."""
    try:
        return base64.b64decode(b"".join(pieces), validate=True)
    except binascii.Error:
        return None
