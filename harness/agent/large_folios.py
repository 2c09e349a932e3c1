"""Switches off what gives memory several pages at a time, on a Linux that was booted to do so.

Programs are about single pages: which are there, which frame each has, and who counts it. A Linux may map 4 to 256 pages
at the first touch of one, as one folio with one count of references for all (`thp_anon=64K:always` since 6.12, for shared
memory `transparent_hugepage_shmem=always`). It is right to, and the model would call it wrong. Folios of a whole page
table, as `transparent_hugepage=always` gives, need a mapping longer than any that programs make, and may stay on.

Source: Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

from collections.abc import Callable

_FOLDER = "/sys/kernel/mm/transparent_hugepage"
_SHARED = f"{_FOLDER}/shmem_enabled"
_SIZES = tuple(f"{_FOLDER}/hugepages-{8 << power}kB" for power in range(8))
_OF_SIZES = tuple(f"{size}/{name}" for size in _SIZES for name in ("enabled", "shmem_enabled"))
_OFF = b"never\n"
_IS_ON = (b"[always]", b"[force]", b"[within_size]", b"[inherit]")


def to_switch_off(read_file: Callable[[str], bytes | None]) -> tuple[tuple[str, bytes], ...]:
    """Return what to write where, in the form of the client's settings: nothing, where all is off.

    `read_file` gives a file of the guest, None where there is none. Linux before 6.8 has no sizes to look at.
    """
    has_sizes = read_file(f"{_FOLDER}/hugepages-64kB/enabled") is not None
    files = (_SHARED, *_OF_SIZES) if has_sizes else (_SHARED,)
    return tuple((path, _OFF) for path in files if _is_on(read_file(path)))


def _is_on(text: bytes | None) -> bool:
    return text is not None and any(word in text for word in _IS_ON)


def note(settings: tuple[tuple[str, bytes], ...]) -> str:
    """Tell the reader of a report what was switched off; empty where nothing was."""
    names = ", ".join(path.removeprefix(f"{_FOLDER}/") for path, _ in settings)
    return f"folios of several pages are switched off for the tests, which are about single pages: {names}" if names else ""
