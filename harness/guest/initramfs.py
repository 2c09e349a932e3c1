"""The guest's root file system: a cpio archive with the agent as /init, made without tools or root.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst ("newc" archives).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError
from harness.guest.cache import write_atomically

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """One file of an archive; `mode` has the type bits, `device` is (major, minor) of a node."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def build_initramfs(agent: Path, out: Path) -> Path:
    """Write to `out` an archive whose /init is the program `agent`; the same bytes for the same agent.

    Raises ImageError where the agent cannot be read, StorageError where `out` cannot be written.
    """
    try:
        program = agent.read_bytes()
    except OSError as error:
        raise ImageError(f"the agent {agent} cannot be read: {error.strerror}") from error
    write_atomically(out, archive(root_entries(program)))
    return out


def root_entries(program: bytes) -> list[Entry]:
    """Return what the guest's root holds when its kernel starts `program`."""
    folders = [Entry(name, stat.S_IFDIR | 0o755) for name in ("dev", "proc", "sys", "tmp")]
    nodes = [
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("dev/null", stat.S_IFCHR | 0o666, device=(1, 3)),
        Entry("dev/ttyS0", stat.S_IFCHR | 0o600, device=(4, 64)),
    ]
    return [*folders, *nodes, Entry("init", stat.S_IFREG | 0o755, program)]


def archive(entries: list[Entry]) -> bytes:
    """Return a newc archive of `entries`, in the order of their names, with no times and no owners."""
    out = bytearray()
    for number, entry in enumerate(sorted(entries, key=lambda entry: entry.name), start=1):
        out += _member(entry, number)
    out += _member(Entry(_TRAILER, 0), 0)
    return bytes(out + bytes(-len(out) % 512))


def _member(entry: Entry, inode: int) -> bytes:
    name = entry.name.encode("ascii") + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    header = [inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0]
    head = b"070701" + b"".join(b"%08x" % value for value in header) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
