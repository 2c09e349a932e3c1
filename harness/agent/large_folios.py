"""Switches off what gives memory several pages at a time, on a Linux that was booted to do so, and huge pages on where they
are to be tested.

Programs are about single pages: which are there, which frame each has, and who counts it. A Linux may map 4 to 512 pages
at the first touch of one, as one folio with one count of references for all (`transparent_hugepage=always`, since 6.12
`thp_anon=64K:always`, for shared memory `transparent_hugepage_shmem=always`). It is right to, and the model of a kernel
without `huge_pages` would call it wrong.

Where they are tested, what brings them is a fault and nothing else: khugepaged, which makes them of small pages whenever it
likes, looks once and sleeps then (and takes no block that is not whole), and there is no huge page of zeroes, which is
taken from the allocator at its first use and never given back.

Source: Documentation/admin-guide/mm/transhuge.rst; khugepaged_wait_work, get_huge_zero_page.
"""

from __future__ import annotations

from collections.abc import Callable

_FOLDER = "/sys/kernel/mm/transparent_hugepage"
_HUGE = f"{_FOLDER}/enabled"
_SHARED = f"{_FOLDER}/shmem_enabled"
_SIZES = tuple(f"{_FOLDER}/hugepages-{8 << power}kB" for power in range(8))
_OF_SIZES = tuple(f"{size}/{name}" for size in _SIZES for name in ("enabled", "shmem_enabled"))
_OFF = b"never\n"
_IS_ON = (b"[always]", b"[force]", b"[within_size]", b"[inherit]")

HUGE_PAGES: tuple[tuple[str, bytes], ...] = (
    (f"{_FOLDER}/khugepaged/scan_sleep_millisecs", b"4294967295\n"),
    (f"{_FOLDER}/khugepaged/max_ptes_none", b"0\n"),
    (f"{_FOLDER}/khugepaged/max_ptes_shared", b"0\n"),
    (f"{_FOLDER}/use_zero_page", b"0\n"),
    (_HUGE, b"always\n"),
)
"""Settings of a guest whose huge pages are to be tested. A kernel without them is fine."""


def to_switch_off(read_file: Callable[[str], bytes | None], *, huge_pages: bool = False) -> tuple[tuple[str, bytes], ...]:
    """Return what to write where, in the form of the client's settings: nothing, where all is off.

    `read_file` gives a file of the guest, None where there is none. Linux before 6.8 has no sizes to look at.
    """
    has_sizes = read_file(f"{_FOLDER}/hugepages-64kB/enabled") is not None
    files = (_SHARED, *(() if huge_pages else (_HUGE,)), *(_OF_SIZES if has_sizes else ()))
    return tuple((path, _OFF) for path in files if _is_on(read_file(path)))


def _is_on(text: bytes | None) -> bool:
    return text is not None and any(word in text for word in _IS_ON)


def note(settings: tuple[tuple[str, bytes], ...]) -> str:
    """Tell the reader of a report what was switched off; empty where nothing was."""
    names = ", ".join(path.removeprefix(f"{_FOLDER}/") for path, _ in settings)
    return f"folios of several pages are switched off for the tests, which are about single pages: {names}" if names else ""
