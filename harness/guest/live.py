"""A guest that is up: its machine, its console and its agent; made by booting, or from a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import BootFailure, GuestDied, GuestHung, GuestPanicked, GuestTrouble, ProtocolError
from harness.guest.channel import Channel
from harness.guest.console import Console, SocketStream
from harness.guest.cpu import whereabouts
from harness.guest.machine import Machine, MachineSpec
from harness.guest.mailbox import SPINS, Mailbox, MailboxLost, new_mark
from harness.guest.monitor import MonitorError
from harness.guest.ram import GuestRam
from harness.guest.starved import Starvation

PING = b"\x00"  # the request that the agent answers with itself and its hello
OPEN_MAILBOX = b"\x08"  # mark, patience (u32); answered by itself and two bytes, the counts of pages
_EXIT_S = 2.0
_MOST_WORDS = 100  # characters of the last words, in a sentence; the rest is in the tail of the console


class LiveGuest(Protocol):
    """What a session needs of a guest that is up."""

    channel: Channel
    hello: bytes

    @property
    def pid(self) -> int:
        """The process number of the machine."""

    @property
    def ram(self) -> GuestRam | None:
        """The machine's memory, where it is shared."""

    def resident_bytes(self) -> int:
        """Host memory that the machine holds."""

    def whereabouts(self) -> list[str]:
        """Where the machine's CPUs are, a line each, as far as can be told."""

    def close(self) -> None:
        """End the machine at once."""


@dataclass
class QemuGuest:
    """A guest in QEMU."""

    spec: MachineSpec
    machine: Machine
    console: Console
    channel: Channel
    hello: bytes = b""

    @property
    def pid(self) -> int:
        """The process number of QEMU."""
        return self.machine.pid

    @property
    def ram(self) -> GuestRam | None:
        """The machine's memory, where QEMU shares it with us."""
        return self.machine.ram

    def resident_bytes(self) -> int:
        """Host memory that QEMU holds."""
        return self.machine.resident_bytes()

    def whereabouts(self) -> list[str]:
        """Where the machine's CPUs are, a line each; nothing where QEMU is gone."""
        try:
            return whereabouts(self.machine.monitor(), self.spec.kernel)
        except MonitorError:
            return []

    def close(self) -> None:
        """Kill QEMU."""
        self.console.close()
        self.machine.close()


def boot(spec: MachineSpec, panic_patterns: tuple[str, ...], timeout_s: float) -> QemuGuest:
    """Start a machine and wait for the agent's hello.

    Raises BootFailure with the console's tail where the kernel does not get there, LaunchFailure where
    QEMU gives up, ProtocolError where the hello cannot be read.
    """
    guest = _started(spec, None, panic_patterns)
    guest.console.booting = True
    try:
        guest.hello = guest.channel.hello(guest.console.clock() + timeout_s)
        guest.console.booting = False
    except GuestTrouble as trouble:
        failure = _boot_failure(guest, trouble, timeout_s)
        guest.close()
        raise failure from trouble
    except BaseException:
        guest.close()
        raise
    return guest


def resume(spec: MachineSpec, snapshot: Path, panic_patterns: tuple[str, ...], timeout_s: float) -> QemuGuest:
    """Start a machine from `snapshot` and hear from the agent that it lives.

    Raises GuestTrouble, LaunchFailure or ProtocolError where the snapshot is no good.
    """
    guest = _started(spec, snapshot, panic_patterns)
    try:
        guest.machine.wait_running(timeout_s)
        answer = guest.channel.request(PING, timeout_s=timeout_s)
        guest.hello = _hello_in(answer)
    except (GuestDied, MonitorError) as died:
        guest.machine.wait_exit(_EXIT_S)
        failure = guest.machine.launch_failure("QEMU did not take the snapshot")
        guest.close()
        raise failure from died
    except BaseException:
        guest.close()
        raise
    return guest


def open_mailbox(guest: QemuGuest, timeout_s: float) -> None:
    """Have messages go through the guest's RAM from now on.

    Raises MailboxLost where that cannot be, with the reason; GuestTrouble or ProtocolError as each request does.
    """
    if guest.ram is None:
        raise MailboxLost(guest.machine.no_ram)
    mark = new_mark()
    request = OPEN_MAILBOX + mark + SPINS.to_bytes(4, "little")
    answer = guest.channel.request(request, timeout_s=timeout_s)
    if len(answer) != len(OPEN_MAILBOX) + 2 or not answer.startswith(OPEN_MAILBOX):
        raise ProtocolError("the agent's answer about its mailbox is something else", evidence=answer)
    request_pages, answer_pages = answer[-2:]
    if not request_pages:
        raise MailboxLost("the agent cannot keep its memory out of forks")
    guest.channel.mailbox = Mailbox(guest.ram, mark, request_pages, answer_pages)


def _hello_in(answer: bytes) -> bytes:
    if not answer.startswith(PING):
        raise ProtocolError("the agent's answer to a ping is something else", evidence=answer)
    return answer.removeprefix(PING)


def _started(spec: MachineSpec, snapshot: Path | None, panic_patterns: tuple[str, ...]) -> QemuGuest:
    machine = Machine(spec, incoming=snapshot)
    log = SocketStream(machine.log) if machine.log is not None else None
    console = Console(SocketStream(machine.console), panic_patterns, log=log, ending=lambda: machine.ending(_EXIT_S))
    return QemuGuest(spec, machine, console, Channel(console, Starvation(machine.pid)))


def _boot_failure(guest: QemuGuest, trouble: GuestTrouble, timeout_s: float) -> Exception:
    words = guest.console.last_words()
    words = words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 1] + "…"
    last = f"its last words were: {words}" if words else "it printed nothing"
    if isinstance(trouble, GuestPanicked):
        return BootFailure(f"the kernel broke while it booted: {trouble.reason}", console=trouble.console)
    if isinstance(trouble, GuestHung):
        message = f"the guest was not ready after {timeout_s:g} s; {last}"
        if guest.spec.accelerator != "kvm":  # else this is a trial, and somebody wants to know why it failed in short
            message += "".join(f"; {where}" for where in guest.whereabouts())
            message += f" (it is ready when PID 1, the agent in its initramfs, says hello on {guest.spec.console}; "
            message += "boot_timeout_s in its definition gives it longer)"
        return BootFailure(message, console=trouble.console)
    status = guest.machine.wait_exit(_EXIT_S)
    if status != 0 and guest.machine.stderr() and not trouble.console:
        return guest.machine.launch_failure("QEMU gave up")
    return BootFailure(f"{trouble.reason} before it was ready; {last}", console=trouble.console)
