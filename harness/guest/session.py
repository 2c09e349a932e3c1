"""A guest that is off, booted or broken."""

from __future__ import annotations

import time
from pathlib import Path

from harness.guest.channel import Channel
from harness.guest.console import Console, SocketStream
from harness.guest.definition import GuestDefinition
from harness.guest.initramfs import build_initramfs
from harness.guest.machine import Machine, MachineSpec, find_emulator


class Session:
    """Thin slice; the real one replaces this with the same methods."""

    def __init__(self, definition: GuestDefinition, *, kernel: Path | None = None, agent: Path | None = None):
        self.definition = definition.with_kernel(kernel) if kernel else definition
        self._agent = agent
        self._machine: Machine | None = None
        self.hello = b""

    def start(self) -> None:
        """Boot."""
        assert self._agent is not None
        assert self.definition.kernel.path is not None
        initramfs = build_initramfs(self._agent, Path("/tmp/pagepact-slice.cpio"))
        d = self.definition
        spec = MachineSpec(
            find_emulator(d.arch), d.kernel.path, initramfs, d.command_line, d.memory_mb, d.cpus, d.machine, d.cpu, "tcg"
        )
        self._machine = Machine(spec)
        self._console = Console(SocketStream(self._machine.console), d.panic_patterns)
        self.channel = Channel(self._console)
        self.hello = self.channel.hello(time.monotonic() + d.boot_timeout_s)

    def request(self, payload: bytes, timeout_s: float | None = None) -> bytes:
        """Send and receive."""
        return self.channel.request(payload, timeout_s=timeout_s or self.definition.answer_timeout_s)

    def restore(self) -> None:
        """Start again."""
        self.close()
        self.start()

    def close(self) -> None:
        """Kill."""
        if self._machine:
            self._machine.close()
            self._machine = None

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
