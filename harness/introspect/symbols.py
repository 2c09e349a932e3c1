"""Symbols of a kernel: where in memory the array lies that a definition names, by the kernel's own ELF file."""

from __future__ import annotations

import difflib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import DefinitionError

_OBJECTS = ("STT_OBJECT", "STT_NOTYPE")
_LISTED = 4


@dataclass(frozen=True, slots=True)
class Symbol:
    """An object of the kernel: its virtual address, and its size in bytes (0 where the file does not say)."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a part of the kernel goes: from virtual address `start` on, and physical address `place` on."""

    start: int
    size: int
    place: int


@dataclass(frozen=True, slots=True)
class KernelFile:
    """What the ELF file of a kernel says of its memory."""

    path: Path
    symbols: tuple[Symbol, ...]
    segments: tuple[Segment, ...]

    def find(self, pattern: str) -> Symbol:
        """Return the object whose name `pattern` is found in. Raises DefinitionError where there is none, or several.

        Names are as the linker has them: Rust and C++ mangle theirs. Two names of one address are one object.
        """
        found = {symbol.address: symbol for symbol in self.symbols if re.search(pattern, symbol.name)}
        if len(found) == 1:
            return next(iter(found.values()))
        if not found:
            names = {symbol.name for symbol in self.symbols}
            close = difflib.get_close_matches(re.sub(r"[^\w.]", "", pattern), names, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise DefinitionError(f"counts.symbol {pattern!r} matches no object in {self.path}{hint}")
        places = sorted(found.values(), key=lambda symbol: symbol.address)
        listed = ", ".join(f"{symbol.name} at {symbol.address:#x}" for symbol in places[:_LISTED])
        more = ", …" if len(places) > _LISTED else ""
        raise DefinitionError(f"counts.symbol {pattern!r} matches {len(found)} objects in {self.path}: {listed}{more}")


def read_kernel_file(path: Path) -> KernelFile:
    """Read symbols and segments of an ELF file. Raises DefinitionError where it is none, or has no symbols."""
    name_one = "name the ELF file that it was made of with counts.symbols"
    try:
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                raise DefinitionError(f"{path} is no ELF file, and so has no symbols to find counts by: {name_one}")
            elf = ELFFile(file)
            tables = [section for section in elf.iter_sections() if isinstance(section, SymbolTableSection)]
            symbols = tuple(_symbol(each) for table in tables for each in table.iter_symbols() if _is_object(each))
            loaded = [each for each in elf.iter_segments() if each["p_type"] == "PT_LOAD"]
            segments = tuple(Segment(each["p_vaddr"], each["p_memsz"], each["p_paddr"]) for each in loaded)
    except OSError as error:
        raise DefinitionError(f"the symbols of {path} cannot be read: {error.strerror}") from error
    except (ELFError, struct.error, KeyError, ValueError, AttributeError) as error:
        raise DefinitionError(f"{path} is a damaged ELF file, so its symbols cannot be read") from error
    if not symbols:
        raise DefinitionError(f"{path} has no symbol table, it was stripped: {name_one}")
    return KernelFile(path, symbols, segments)


def _is_object(symbol: Any) -> bool:
    is_here = symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")
    return bool(symbol.name and is_here and symbol["st_info"]["type"] in _OBJECTS)


def _symbol(symbol: Any) -> Symbol:
    return Symbol(symbol.name, symbol["st_value"], symbol["st_size"])
