"""One guest over its life: off, booted, broken, and back.

::

            start                    a guest's trouble
    OFF ------------> BOOTED --------------------------> BROKEN
     ^                  ^  |                                |
     |                  |  '-- restore                      |
     '---- close        '------------------ restore --------'

Broken stays broken: each request to a broken guest raises the first failure again, until `restore`. A
session belongs to one thread.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from harness.errors import GuestHung, GuestTrouble, PagepactError, ProtocolError, RigError
from harness.guest.definition import GuestDefinition
from harness.guest.live import LiveGuest
from harness.guest.mailbox import Notice
from harness.guest.ram import GuestRam
from harness.guest.source import GuestSource, QemuSource


class State(enum.Enum):
    """Where a session is in its life."""

    OFF = "off"
    BOOTED = "booted"
    BROKEN = "broken"


class Session:
    """A guest of `definition`, with the kernel image `kernel` in the place of the definition's own.

    `agent` is a program for /init other than fixtures/agent; `source` gives guests that are no QEMU.
    """

    def __init__(
        self,
        definition: GuestDefinition,
        *,
        kernel: Path | None = None,
        agent: Path | None = None,
        source: GuestSource | None = None,
    ) -> None:
        self.definition = definition.with_kernel(kernel) if kernel else definition
        self.restore_seconds: float | None = None
        self.on_notice: Callable[[Notice], bool] | None = None  # looks when the agent shows its processes
        self._source = source or QemuSource(self.definition, agent=agent)
        self._live: LiveGuest | None = None
        self._failure: PagepactError | None = None

    @property
    def state(self) -> State:
        """Off, booted or broken."""
        if self._failure is not None:
            return State.BROKEN
        return State.BOOTED if self._live is not None else State.OFF

    def start(self) -> None:
        """Bring the guest up, where it is off; RigError or BootFailure where that does not work."""
        if self.state is State.OFF:
            self._live = self._source.fresh()

    def request(self, payload: bytes, timeout_s: float | None = None) -> bytes:
        """Return the agent's answer to `payload`; starts the guest where it is off.

        Raises GuestPanicked, GuestHung or GuestDied with the console's tail, MachineKilled where somebody killed QEMU,
        ProtocolError where agent and harness do not understand each other. All of them break the session.
        """
        if self._failure is not None:
            raise self._failure
        self.start()
        limit = self.definition.answer_timeout_s if timeout_s is None else timeout_s
        try:
            self._guest.channel.on_notice = self.on_notice
            return self._guest.channel.request(payload, timeout_s=limit)
        except GuestHung as hung:
            self._failure = GuestHung(hung.reason, console="\n".join([hung.console, *self._guest.whereabouts()]).strip())
            raise self._failure from hung
        except (GuestTrouble, RigError) as failure:
            self._failure = failure
            raise
        except BaseException:  # Ctrl-C: nobody knows how far the guest is
            self._failure = ProtocolError("an earlier request to this guest was interrupted")
            raise

    def restore(self) -> None:
        """Bring the guest back to where it was after its start, whatever happened to it."""
        self.close()
        began = time.monotonic()
        self.start()
        self.restore_seconds = time.monotonic() - began

    def close(self) -> None:
        """End the machine at once; the session is off, and can start again."""
        live, self._live, self._failure = self._live, None, None
        if live is not None:
            live.close()

    @property
    def failure(self) -> PagepactError | None:
        """What broke the session."""
        return self._failure

    @property
    def hello(self) -> bytes:
        """The agent's first words."""
        return self._guest.hello

    @property
    def last_step(self) -> int | None:
        """The step that the agent last said it began, in the last request."""
        return self._live.channel.last_step if self._live is not None else None

    @property
    def starved_s(self) -> float:
        """How long in the last request, had it lasted long, the machine wanted a CPU of the host and had none."""
        return self._live.channel.starved_s if self._live is not None else 0.0

    @property
    def pid(self) -> int:
        """The process number of the machine."""
        return self._guest.pid

    @property
    def resident_bytes(self) -> int:
        """Host memory that the machine holds, in bytes."""
        return self._guest.resident_bytes()

    @property
    def ram(self) -> GuestRam | None:
        """The guest's memory as ours; None where it is not shared, which the notes then tell."""
        return self._guest.ram

    @property
    def has_mailbox(self) -> bool:
        """Whether messages go through the guest's memory."""
        return self._guest.channel.mailbox is not None

    @property
    def accelerator(self) -> str:
        """What runs the guest, "kvm" or "tcg"; empty before the start."""
        return self._source.facts.accelerator.name

    @property
    def accelerator_reason(self) -> str:
        """Why."""
        return self._source.facts.accelerator.reason

    @property
    def kernel(self) -> Path | None:
        """The kernel image; None before the start."""
        return self._source.facts.kernel

    @property
    def kernel_version(self) -> str | None:
        """What the image says of its version, where it does."""
        return self._source.facts.kernel_version

    @property
    def boot_seconds(self) -> float | None:
        """How long the last real boot took; None where there was none, thanks to a snapshot."""
        return self._source.facts.boot_seconds

    @property
    def notes(self) -> list[str]:
        """What the reader of a report should know about this guest, one sentence each."""
        return self._source.facts.notes

    @property
    def _guest(self) -> LiveGuest:
        if self._live is None:
            raise ProtocolError("the guest is off; start the session first")
        return self._live

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()
