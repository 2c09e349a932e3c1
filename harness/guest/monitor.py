"""QEMU's control channel (QMP), synchronous, with the message types of `qemu.qmp`.

`qemu.qmp`'s own client is asyncio. A harness that asks one question at a time gains nothing from an
event loop, and a loop that is garbage-collected while it still has tasks complains loudly; so the
socket is read here.

Source: QEMU docs/interop/qmp-spec.rst.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from qemu.qmp import Message, QMPError
from qemu.qmp.models import ErrorResponse, Greeting

ANSWER_S = 30.0  # QEMU answers within a millisecond, but not while it loads a snapshot
_CHUNK = 65536
_MOST_UNREAD = 1 << 20


class MonitorError(Exception):
    """QEMU refused a command, or is gone; the message is its own."""


class Monitor:
    """A connection to one QEMU."""

    def __init__(self, connected: socket.socket) -> None:
        """Shake hands over `connected`; MonitorError where QEMU does not."""
        self._socket = connected
        self._unread = b""
        deadline = time.monotonic() + ANSWER_S
        try:
            Greeting(self._receive(deadline))
        except (KeyError, TypeError) as error:
            raise MonitorError(f"QEMU's greeting is none: {error}") from error
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: object) -> Any:
        """Run one QMP command and return what it returns; events in between are passed over."""
        deadline = time.monotonic() + ANSWER_S
        self._send(Message({"execute": name, "arguments": arguments}))
        while True:
            message = self._receive(deadline)
            if "error" in message:
                raise MonitorError(ErrorResponse(message).error.desc)
            if "return" in message:
                return message["return"]

    def give_fd(self, name: str, fd: int) -> None:
        """Hand a file descriptor over, known to QEMU as `name` from then on."""
        try:
            socket.send_fds(self._socket, [b" "], [fd])
        except OSError as error:
            raise MonitorError(str(error)) from error
        self.command("getfd", fdname=name)

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._socket.close()

    def _send(self, message: Message) -> None:
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.sendall(bytes(message) + b"\n")
        except OSError as error:
            raise MonitorError(f"QEMU takes no command: {error}") from error

    def _receive(self, deadline: float) -> Message:
        while b"\n" not in self._unread:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                chunk = self._socket.recv(_CHUNK)
            except OSError as error:
                raise MonitorError(f"QEMU does not answer: {error}") from error
            if not chunk or len(self._unread) > _MOST_UNREAD:
                raise MonitorError("QEMU closed its monitor")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            return Message(line)
        except QMPError as error:
            raise MonitorError(f"QEMU's answer cannot be read: {error}") from error
