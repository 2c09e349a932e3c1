"""Where the CPUs of a machine are: what is left to be asked of a guest that no longer answers.

QEMU's monitor gives the registers as text (`info registers -a`), for each CPU a block. Of x86-64 it says whether the CPU is
halted; of arm64 it does not. One look tells a place, several tell a loop from a sleep. A kernel in an ELF file with symbols
gives the function's name as well.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.guest.monitor import Monitor, MonitorError

LOOKS = 8
PAUSE_S = 0.01  # from one look to the next
_FURTHEST = 1 << 16  # bytes from a symbol of unknown size to a place that is still called by it
_BLOCK = re.compile(r"^CPU#(\d+)", re.MULTILINE)
_X86 = re.compile(r"^[RE]IP=([0-9a-f]+).*\bCPL=(\d).*\bHLT=(\d)", re.MULTILINE)
_ARM64_PC = re.compile(r"^ *PC=([0-9a-f]+)", re.MULTILINE)
_ARM64_LEVEL = re.compile(r"^PSTATE=.*\bEL(\d)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where CPU number `cpu` is."""

    cpu: int
    address: int
    is_in_kernel: bool
    is_halted: bool = False


def read_places(registers: str) -> list[Place]:
    """Read the text of `info registers -a`; what is no CPU that we know is left out."""
    _, *parts = _BLOCK.split(registers)
    found = []
    for number, block in zip(parts[::2], parts[1::2], strict=True):
        if x86 := _X86.search(block):
            found.append(Place(int(number), int(x86[1], 16), x86[2] == "0", x86[3] == "1"))
        elif (pc := _ARM64_PC.search(block)) and (level := _ARM64_LEVEL.search(block)):
            found.append(Place(int(number), int(pc[1], 16), level[1] != "0"))
    return found


def whereabouts(monitor: Monitor, kernel: Path) -> list[str]:
    """Look at the CPUs a few times, and say where they were, one line a CPU; nothing where QEMU does not say it."""
    seen: dict[int, Counter[str]] = {}
    functions = _functions(kernel)
    for _ in range(LOOKS):
        try:
            text = monitor.command("human-monitor-command", **{"command-line": "info registers -a"})
        except MonitorError:
            break
        for place in read_places(str(text)):
            seen.setdefault(place.cpu, Counter())[_told(place, functions)] += 1
        time.sleep(PAUSE_S)
    return [f"CPU {cpu} {_often(places)}" for cpu, places in seen.items()]


def _often(places: Counter[str]) -> str:
    """Tell the place that was seen most often."""
    ((place, times),) = places.most_common(1)
    return place if times == places.total() else place.replace(", at ", ", often at ")


def _told(place: Place, functions: tuple[tuple[int, int, str], ...]) -> str:
    if not place.is_in_kernel:
        return f"runs a process, at {place.address:#x}"
    does = "waits for an interrupt" if place.is_halted else "runs the kernel"
    return f"{does}, at {place.address:#x}{_name(place.address, functions)}"


def _name(address: int, functions: tuple[tuple[int, int, str], ...]) -> str:
    at = bisect_right(functions, address, key=lambda function: function[0]) - 1
    if at < 0:
        return ""
    start, size, name = functions[at]
    return f" ({name}+{address - start:#x})" if address - start < (size or _FURTHEST) else ""


@lru_cache(maxsize=1)
def _functions(kernel: Path) -> tuple[tuple[int, int, str], ...]:
    """Start, size and name of the kernel's functions, in their order; none where the file does not tell."""
    try:
        with kernel.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return ()
            tables = [each for each in ELFFile(file).iter_sections() if isinstance(each, SymbolTableSection)]
            return tuple(sorted(_function(each) for table in tables for each in table.iter_symbols() if _is_code(each)))
    except (OSError, ELFError, KeyError, ValueError, AttributeError):
        return ()


def _is_code(symbol: Any) -> bool:
    return bool(symbol.name and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE") and symbol["st_value"])


def _function(symbol: Any) -> tuple[int, int, str]:
    return symbol["st_value"], symbol["st_size"], symbol.name
