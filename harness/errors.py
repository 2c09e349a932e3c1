"""Every error that the harness raises, and the three families that are never confused.

::

    PagepactError
    ├── RigError                ours: the machine, the files, the tools        exit status 2
    │   ├── ProgramError        a program that is malformed, or too new
    │   ├── DefinitionError     a guest definition that makes no sense
    │   ├── ImageError          a kernel or agent image that is missing or broken
    │   ├── ToolMissing         QEMU, a compiler, apt … is not there
    │   ├── StorageError        a disk that is full, a directory that cannot be written
    │   └── ProtocolError       the agent and the harness do not understand each other
    └── GuestTrouble            the guest's: evidence is the console
        ├── BootFailure         the guest never said that it was ready
        ├── GuestPanicked       the kernel said that it broke (panic, oops, warning)
        ├── GuestHung           no answer within the deadline
        └── GuestDied           the machine went away, or rebooted

A contract violation is no error: it is the product, and travels as a `Verdict`. Guest trouble *while
a program runs* becomes such a finding, because a kernel must survive any program; at boot it stays an
error. The message of an error is one sentence for a person, who learns from it what to do next.
"""

from __future__ import annotations


class PagepactError(Exception):
    """The root of all errors of this project; `str(error)` is one sentence for a person."""


class RigError(PagepactError):
    """Something on our side of the console is wrong; it says nothing about the kernel."""


class ProgramError(RigError):
    """A program is not well formed. `line` is the 1-based line of the text, where there is one."""

    def __init__(self, message: str, *, line: int | None = None, source: str | None = None) -> None:
        self.reason = message
        self.line = line
        self.source = source
        where = ":".join(str(part) for part in (source, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)


class DefinitionError(RigError):
    """A guest definition has an unknown key, or a value that cannot be."""


class ImageError(RigError):
    """A kernel, agent or initramfs image is missing, truncated or of the wrong kind."""


class ToolMissing(RigError):
    """A program that the harness calls is not installed; the message says how to get it."""


class StorageError(RigError):
    """A file could not be written."""


class ProtocolError(RigError):
    """A message broke the protocol; `evidence` holds the raw bytes that did."""

    def __init__(self, message: str, *, evidence: bytes = b"") -> None:
        self.evidence = evidence
        shown = f"; received {evidence[:120]!r}" if evidence else ""
        super().__init__(message + shown)


class GuestTrouble(PagepactError):
    """The guest misbehaved. `console` is the bounded tail of what it printed."""

    def __init__(self, message: str, *, console: str = "") -> None:
        self.reason = message
        self.console = console
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the evidence when the error crosses from an xdist worker."""
        return (_rebuild, (type(self), self.reason, self.console))


def _rebuild(kind: type[GuestTrouble], message: str, console: str) -> GuestTrouble:
    return kind(message, console=console)


class BootFailure(GuestTrouble):
    """The guest did not come up."""


class GuestPanicked(GuestTrouble):
    """The kernel reported a panic, an oops or a warning; `reason` is its own line."""


class GuestHung(GuestTrouble):
    """The guest did not answer in time."""


class GuestDied(GuestTrouble):
    """The machine stopped, rebooted or powered off by itself."""
