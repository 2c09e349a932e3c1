"""A booted guest in a file, made once and used by all workers.

The file is QEMU's migration stream. Its name is a hash of all that the state depends on: kernel,
initramfs, QEMU, command line. QEMU does not check the memory that it reads back, and a flipped bit in
the cache would become a finding about the kernel; so a checksum lies beside the file and is checked
once in each process.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import StorageError
from harness.guest.cache import cache_folder, need_space, prune, sha256_of, storage, write_atomically
from harness.guest.machine import Machine, MachineSpec
from harness.guest.monitor import MonitorError

KEEP = 4  # about 75 MB each
_FORMAT = 2  # change it when what a snapshot holds changes its meaning
_DEVICES_MB = 16  # beside the memory: device state, and firmware
_CHUNK = 1 << 20
_verified: set[tuple[str, int, int]] = set()  # path, inode, size


class Snapshot:
    """The snapshot of one machine; it may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._record = path.with_suffix(".json")

    @classmethod
    def of(cls, spec: MachineSpec, kernel_sha256: str) -> Snapshot:
        """Return the place of the snapshot of `spec`; StorageError where there can be no cache."""
        return cls(cache_folder("snapshots") / f"{snapshot_key(spec, kernel_sha256)}.state")

    def usable(self) -> bool:
        """Whether the file is there and whole."""
        try:
            stat = self.path.stat()
            mark = (str(self.path), stat.st_ino, stat.st_size)
            if mark in _verified:
                return True
            record = json.loads(self._record.read_text(encoding="utf-8"))
            whole = bool(record["size"] == stat.st_size and record["crc32"] == _crc32_of(self.path))
            os.utime(self.path)  # the oldest is pruned first
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if whole:
            _verified.add(mark)
        return whole

    def warnings(self) -> list[str]:
        """Return what the kernel warned of while it booted, once: who goes on from here never hears it."""
        with suppress(OSError, ValueError, AttributeError):
            return [str(line) for line in json.loads(self._record.read_text(encoding="utf-8")).get("warnings", [])]
        return []

    def need_space(self, memory_mb: int) -> None:
        """Raise StorageError where the disk has no room for a machine of `memory_mb` MiB."""
        need_space(self.path.parent, memory_mb + _DEVICES_MB, "a snapshot")

    def save(self, machine: Machine, warnings: Sequence[str] = ()) -> None:
        """Write the state of `machine`, which stops, and what its kernel warned of; StorageError where that fails."""
        with storage(f"the snapshot {self.path}"):
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix="new-")
            temporary = Path(name)
            try:
                try:
                    machine.save_state(handle)
                finally:
                    os.close(handle)
                record = {"size": temporary.stat().st_size, "crc32": _crc32_of(temporary), "warnings": [*warnings]}
                write_atomically(self._record, json.dumps(record).encode())
                temporary.replace(self.path)
            except MonitorError as error:
                raise StorageError(f"the snapshot {self.path} cannot be written: {error}") from error
            finally:
                with suppress(OSError):
                    temporary.unlink()
        prune(self.path.parent, "*.state", keep=KEEP, companions=(".json", ".state.lock"))

    def discard(self) -> None:
        """Delete the snapshot, and forget that it ever was good."""
        _verified.difference_update([mark for mark in _verified if mark[0] == str(self.path)])
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def snapshot_key(spec: MachineSpec, kernel_sha256: str) -> str:
    """Return a name for the state that `spec` boots into: not paths count, but what the files hold."""
    contents = {str(spec.kernel): kernel_sha256}
    if spec.initramfs is not None:
        contents[str(spec.initramfs)] = sha256_of(spec.initramfs)
    arguments = [contents.get(argument, argument) for argument in spec.arguments() + spec.ports()]
    identity = json.dumps([_FORMAT, spec.emulator.version, arguments])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _crc32_of(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
