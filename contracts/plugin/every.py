"""`--guest all`: one run of pytest for each guest, one after the other, with the same options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import pytest

from harness.guest.definition import every_guest

ALL = "all"
_FILES = ("--json", "--junitxml", "--junit-xml", "--coverage")
"""Options that name a file which each run writes; every guest gets one of its own."""


def arguments_for(guest: str, arguments: Sequence[str]) -> list[str]:
    """Give the command line for one guest: its name in the place of `all`, and in the names of the files."""
    out: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option not in ("--guest", *_FILES):
            out.append(word)
            continue
        if not equals and words:
            value = words.pop(0)
        out.append(f"{option}={guest if option == '--guest' else _file_for(guest, value)}")
    return out


def _file_for(guest: str, file: str) -> str:
    path = PurePath(file)
    return str(path.with_name(f"{path.stem}-{guest}{path.suffix}"))


def run_all(arguments: Sequence[str]) -> int:
    """Run pytest for each guest, and give the gravest exit status."""
    statuses = {}
    for guest in every_guest():
        print(f"\n=== guest {guest} ===", flush=True)
        command = [sys.executable, "-m", "pytest", *arguments_for(guest, arguments)]
        statuses[guest] = subprocess.run(command, check=False).returncode
    print("\n=== all guests ===")
    for line in _told(statuses.items()):
        print(line)
    return max(statuses.values(), default=int(pytest.ExitCode.NO_TESTS_COLLECTED))


def _told(statuses: Iterable[tuple[str, int]]) -> Iterable[str]:
    for guest, status in statuses:
        yield f"{guest}: {'conforms' if status == 0 else f'does not (exit status {status})'}"
