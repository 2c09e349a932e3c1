"""The guest's root file system: a cpio archive with the agent as /init, made without tools or root.

Beside it lie the images that programs exec, which are the agent in other layouts: /image-NAME; a text that may be
executed, and cannot be; and what the agent needs for a swap area, where the guest is to have one (`Swap`). Where an
archive must not be longer than the room that a kernel has for it, the largest images are left out.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst ("newc" archives).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from harness.errors import ImageError
from harness.guest.cache import write_atomically

INIT = "/init"
_TRAILER = "TRAILER!!!"
_PADDING = "padding"  # the name of the file that fills an archive up to the length that it shall have
_MAGIC = b"070701"
_HEADER = 110  # the magic number, and thirteen numbers of eight digits


@dataclass(frozen=True)
class Entry:
    """One file of an archive; `mode` has the type bits, `device` is (major, minor) of a node."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Swap:
    """The swap area that the agent makes at its start: how many pages it has, and the kernel's module for disks in memory,
    where that is not built in. See fixtures/agent/swap.c.
    """

    pages: int
    module: Path | None = None

    def entries(self) -> list[Entry]:
        """Return the files that the agent looks for. Raises OSError where the module cannot be read."""
        found = [
            Entry("swap", stat.S_IFREG | 0o644, b"%d\n" % self.pages),
            Entry("dev/ram0", stat.S_IFBLK | 0o600, device=(1, 0)),
        ]
        if self.module is not None:
            found.append(Entry("ramdisk.ko", stat.S_IFREG | 0o644, self.module.read_bytes()))
        return found


@dataclass(frozen=True)
class Archive:
    """An archive, and the names of the images that it does not have because they would make it longer."""

    content: bytes
    left_out: tuple[str, ...] = ()


def build_initramfs(
    agent: Path, out: Path, *, paths: Sequence[str] = (INIT,), length: int | None = None, swap: Swap | None = None
) -> Path:
    """Write to `out` an archive with the program `agent` at `paths`, and its images; the same bytes for the same agent.

    `length`, in bytes, is what the archive is filled up to. Raises ImageError where the agent cannot be read or the
    archive is longer than that, StorageError where `out` cannot be written.
    """
    write_atomically(out, fitting_archive(agent, paths, length, swap).content)
    return out


def fitting_archive(
    agent: Path, paths: Sequence[str] = (INIT,), length: int | None = None, swap: Swap | None = None
) -> Archive:
    """Return the archive with the most images that has `length` bytes when it is filled up, or is as long as it is.

    Raises ImageError where the agent cannot be read, or does not fit without any image.
    """
    archives = archives_of(agent, paths, swap)
    if length is None:
        return archives[0]
    for each in archives:
        content = fitted(each.content, length)
        if content is not None:
            return replace(each, content=content)
    raise ImageError(f"the initramfs needs {len(archives[-1].content)} bytes, and cannot be filled up to {length}")


def images_of(agent: Path) -> list[Path]:
    """Return the images that programs can exec beside `agent`, the smallest first: what was compiled with it."""
    folder = agent.with_name(agent.name.replace("agent", "images", 1))
    if folder == agent or not folder.is_dir():
        return []
    return sorted(folder.iterdir(), key=lambda path: (path.stat().st_size, path.name))


def archives_of(agent: Path, paths: Sequence[str] = (INIT,), swap: Swap | None = None) -> list[Archive]:
    """Return the archives that can start `agent`: the first has all of its images, each next one lacks the largest.

    Raises ImageError where a file cannot be read.
    """
    images = images_of(agent)
    try:
        contents = {f"/image-{path.name}": path.read_bytes() for path in images}
        program = agent.read_bytes()
        more = swap.entries() if swap is not None else []
    except OSError as error:
        raise ImageError(f"the agent {agent} cannot be read: {error.strerror}") from error
    names = list(contents)
    return [
        Archive(
            archive([*root_entries(program, paths, {name: contents[name] for name in names[:kept]}), *more]),
            tuple(path.name for path in images[kept:]),
        )
        for kept in range(len(names), -1, -1)
    ]


def root_entries(
    program: bytes, paths: Sequence[str] = (INIT,), images: Mapping[str, bytes] = MappingProxyType({})
) -> list[Entry]:
    """Return what the guest's root holds when its kernel starts `program`, which lies at each of `paths` and at /init.

    `images` are further programs, by path. Copies, not links: young kernels know no links in an archive.
    """
    programs = {**dict.fromkeys((INIT, *paths), program), **images}
    inside = {str(parent).strip("/") for path in programs for parent in PurePosixPath(path).parents}
    folders = sorted({"dev", "proc", "sys", "tmp", *inside} - {""})
    nodes = [
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("dev/hvc0", stat.S_IFCHR | 0o600, device=(229, 0)),
        Entry("dev/null", stat.S_IFCHR | 0o666, device=(1, 3)),
        Entry("dev/ttyAMA0", stat.S_IFCHR | 0o600, device=(204, 64)),
        Entry("dev/ttyS0", stat.S_IFCHR | 0o600, device=(4, 64)),
    ]
    files = [Entry(path.strip("/"), stat.S_IFREG | 0o755, content) for path, content in sorted(programs.items())]
    files.append(Entry("no-program", stat.S_IFREG | 0o755, b"This is no program.\n"))
    return [*(Entry(name, stat.S_IFDIR | 0o755) for name in folders), *nodes, *files]


def archive(entries: list[Entry]) -> bytes:
    """Return a newc archive of `entries`, in the order of their names, with no times and no owners."""
    out = bytearray()
    for number, entry in enumerate(sorted(entries, key=lambda entry: entry.name), start=1):
        out += _member(entry, number)
    out += _member(Entry(_TRAILER, 0), 0)
    return bytes(out + bytes(-len(out) % 512))


def archive_length(content: bytes, at: int = 0) -> int:
    """Return the length of the archive that begins at `at`, up to the end of its trailer; 0 where there is none."""
    place = at
    while content[place : place + len(_MAGIC)] == _MAGIC:
        try:
            size, name_size = (int(content[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in (6, 11))
        except ValueError:
            return 0
        name = content[place + _HEADER : place + _HEADER + name_size - 1]
        place += _up(_HEADER + name_size) + _up(size)
        if name == _TRAILER.encode():
            return place - at
        if place - at > len(content):
            return 0
    return 0


def fitted(content: bytes, length: int) -> bytes | None:
    """Return the archive `content` with a file of zeroes in front of its trailer, so that it ends after `length` bytes.

    None where it is too long for that.
    """
    trailer = _member(Entry(_TRAILER, 0), 0)
    files = content[: archive_length(content) - len(trailer)]
    room = length - len(files) - len(trailer)
    empty = len(_member(Entry(_PADDING, stat.S_IFREG | 0o644), 1))
    if room == 0:
        return files + trailer
    if room < empty:
        return None
    zeroes = bytes((room - empty) // 4 * 4)
    filled = files + _member(Entry(_PADDING, stat.S_IFREG | 0o644, zeroes), 0xFFFF) + trailer
    return filled + bytes(length - len(filled))


def _member(entry: Entry, inode: int) -> bytes:
    name = entry.name.encode("ascii") + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    header = [inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0]
    head = _MAGIC + b"".join(b"%08x" % value for value in header) + name
    return _padded(head) + _padded(entry.content)


def _up(length: int) -> int:
    return length + -length % 4


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
