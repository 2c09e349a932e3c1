"""The folder for what is expensive to make: kernels, agents, snapshots; shared by parallel workers.

Everything in it can be deleted at any time. A file appears in it whole or not at all: it is written
beside its place and renamed. What several workers might make at once is made under a lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StorageError

LOCK_PATIENCE_S = 600.0  # longer than a download of 30 MB and a boot on a slow machine
_CHUNK = 1 << 20


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, made if need be.

    The cache is $PAGEPACT_CACHE, else pagepact in $XDG_CACHE_HOME, else ~/.cache/pagepact. StorageError
    where it cannot be made.
    """
    folder = _root().joinpath(*parts)
    with storage(f"the cache folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _root() -> Path:
    own = os.environ.get("PAGEPACT_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base).absolute() / "pagepact"
    try:
        return Path.home() / ".cache" / "pagepact"
    except RuntimeError as error:
        raise StorageError("there is no home folder for the cache; set PAGEPACT_CACHE to a folder") from error


@contextmanager
def storage(what: str) -> Iterator[None]:
    """Turn the operating system's refusals to write into StorageError, naming `what`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{what} cannot be written: {reason}; set PAGEPACT_CACHE to a folder with space") from error


def need_space(folder: Path, megabytes: int, what: str) -> None:
    """Raise StorageError where the disk of `folder` has less than `megabytes` MiB free for `what`.

    Asked before tools run that hang, or fail without a reason, on a full disk.
    """
    with storage(f"the folder {folder}"):
        free = shutil.disk_usage(folder).free >> 20
    if free < megabytes:
        raise StorageError(
            f"{what} needs {megabytes} MiB in {folder}, and {free} MiB are free; set PAGEPACT_CACHE to a folder with space"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to `path` among all processes of this machine."""
    lock_path = path.with_name(path.name + ".lock")
    lock = FileLock(lock_path)
    with storage(f"the lock {lock_path}"):
        try:
            lock.acquire(timeout=LOCK_PATIENCE_S)
        except Timeout as error:
            raise StorageError(
                f"another process has held {lock_path} for {LOCK_PATIENCE_S:.0f} s; end it and try again"
            ) from error
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all; StorageError where that fails."""
    with storage(f"the file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def prune(folder: Path, pattern: str, *, keep: int, companions: tuple[str, ...] = (), spare_s: float = 0) -> None:
    """Delete all but the `keep` newest files of `pattern`, each with its files of the other endings.

    What was used within `spare_s` seconds stays: another run may be at work with it.
    """
    dated = []
    for path in folder.glob(pattern):
        with suppress(OSError):
            dated.append((path.stat().st_mtime, path))
    for used, path in sorted(dated, reverse=True)[keep:]:
        if time.time() - used < spare_s:
            continue
        for doomed in (path, *(path.with_suffix(ending) for ending in companions)):
            with suppress(OSError):
                doomed.unlink()
