"""QEMU's control channel (QMP), synchronous: `qemu.qmp` behind an event loop of its own.

`qemu.qmp.legacy` would do nearly the same, but makes its loop the thread's loop and never closes it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from qemu.qmp import QMPClient, QMPError

T = TypeVar("T")
ANSWER_S = 10.0


class MonitorError(Exception):
    """QEMU refused a command, or is gone; the message is its own."""


class Monitor:
    """A connection to one QEMU."""

    def __init__(self, connected: socket.socket) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = QMPClient("guest")
        self._client.logger.disabled = True  # a machine that ends is no news
        self._socket = connected

    def connect(self) -> None:
        """Shake hands; MonitorError where QEMU does not."""
        self._run(self._client.connect(self._socket))

    def command(self, name: str, **arguments: object) -> Any:
        """Run one QMP command and return what it returns."""
        return self._run(self._client.execute(name, arguments))

    def give_fd(self, name: str, fd: int) -> None:
        """Hand a file descriptor over, known to QEMU as `name` from then on."""
        self._client.send_fd_scm(fd)
        self.command("getfd", fdname=name)

    def close(self) -> None:
        """Close the connection and the loop; safe to call twice and on a dead QEMU."""
        if self._loop.is_closed():
            return
        with suppress(MonitorError):
            self._run(self._client.disconnect())
        self._loop.close()
        self._socket.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run_until_complete(asyncio.wait_for(work, ANSWER_S))
        except (QMPError, OSError, EOFError, TimeoutError, asyncio.TimeoutError) as error:
            raise MonitorError(str(error) or type(error).__name__) from error
