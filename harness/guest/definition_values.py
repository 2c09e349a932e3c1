"""What the keys of a guest definition may hold: every check, and the complaint of one sentence where it fails."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from harness.errors import DefinitionError

ARCHITECTURES = ("x86_64", "arm64")
LOADS = ("auto", "linux", "pvh", "multiboot")
"""How QEMU starts an image: "auto" tells by what is in the file; "linux" is a bzImage or a flat arm64 Image; "pvh" is an
ELF file by its PVH note; "multiboot" one by its multiboot header, also an ELF64 file, which QEMU refuses as it is.
"""


@dataclass(frozen=True)
class KernelSource:
    """Where a kernel image comes from (a Debian package of a suite, a file, a folder with its sources, or --kernel), and
    which of LOADS it needs.
    """

    source: str
    package: str = ""
    suite: str = ""
    path: Path | None = None
    load: str = "auto"


@dataclass(frozen=True)
class Quiescence:
    """How long counts may lag behind: the agent looks every `interval_ms`, and for `bound_ms` at most, until they were the
    same `still` times running (0: while a program runs it looks at once), and at its end until all was given back.
    With `probe` it looks at once until the kernel is seen to be late, see `harness.patience`.
    """

    interval_ms: int = 10
    still: int = 2
    bound_ms: int = 0
    probe: bool = False


ELEMENTS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")


@dataclass(frozen=True)
class KernelCounts:
    """Where a kernel keeps the counts of its frames, for who reads them in its memory.

    `reader`      "symbol": an array that the kernel's symbol table names; "vmcoreinfo": Linux's struct page
    `symbol`      a regular expression that one symbol matches; with reader "symbol" alone, as is all that follows
    `symbols`     the file with the symbol table, where the image has none
    `pointer`     whether the symbol is a pointer to the array, and not the array
    `at`          bytes from the symbol to that pointer, in an object that holds more
    `base`        bytes from there to the first element
    `element`     the type of a count, one of ELEMENTS; its bytes are in the order of the machine
    `offset`      bytes of the count within its element
    `stride`      bytes from one element to the next; 0: that of the count
    `index`       which element a frame has: "pfn", that of its number; "ram", less the number of RAM's first frame
    `bias`        what is added to a stored count
    `sole`        a stored value that means one holder
    `uncounted`   stored values that mean that the kernel does not count this frame
    `zero_if_free`  whether the count of a frame that was given back is 0, so that a lost one can be told
    `holds`       what is counted: "references", whoever holds the frame; "entries" of page tables alone
    `direct_map`  the address at which the kernel sees physical address 0
    """

    reader: str
    symbol: str = ""
    symbols: Path | None = None
    pointer: bool = False
    at: int = 0
    base: int = 0
    element: str = "u16"
    offset: int = 0
    stride: int = 0
    index: str = "pfn"
    bias: int = 0
    sole: int | None = None
    uncounted: tuple[int, ...] = ()
    zero_if_free: bool = True
    holds: str = "references"
    direct_map: int | None = None

    @property
    def width(self) -> int:
        """The bytes of a count."""
        return int(self.element[1:]) // 8

    @property
    def is_signed(self) -> bool:
        """Whether a count may be negative."""
        return self.element.startswith("i")

    @property
    def tells_free(self) -> bool:
        """Whether a frame that nobody holds can be told from one that somebody holds."""
        return self.zero_if_free and self.sole is None and (self.bias <= 0 or self.is_signed)


_KINDS = ("qemu", "model")
_SOURCES = ("debian", "file", "build", "given")
_INIT_BY = ("rdinit", "init", "path")
_INITRAMFS = ("qemu", "embedded", "patch")
_CONSOLES = re.compile(r"tty(S[0-3]|AMA[0-3])|hvc0")
_LOGS = re.compile(r"tty(S[0-3]|AMA[0-3])|debugcon")
_ACCELERATORS = ("auto", "tcg", "kvm")
_MODEL_KEYS = ("name", "kind", "title", "semantics")
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_SUITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]*")
_GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FAULT_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_QEMU_WORD = re.compile(r"[A-Za-z0-9][^\s]*")


class Reader:
    """Checks one definition; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def values(self, table: Mapping[str, Any], known: list[str]) -> dict[str, Any]:
        """Return what the keys of `table` hold, checked; `known` are the keys that there are."""
        self._only_known(table, known, "")
        kind = self._choice("kind", table.get("kind"), _KINDS)
        if kind == "model":
            self._only_known(table, list(_MODEL_KEYS), "", because=' of a guest of kind "model"')
        required = ("name", "title", "semantics", *(("kernel",) if kind == "qemu" else ()))
        for key in required:
            if key not in table:
                self._wrong(key, "is missing")
        values: dict[str, Any] = {key: self._value(key, table[key]) for key in table}
        values["semantics"], values["overrides"] = values["semantics"]
        self._fitting(values)
        return values

    def _fitting(self, values: Mapping[str, Any]) -> None:
        """Refuse keys that contradict each other."""
        if values.get("log") and values["log"] == values.get("console", "ttyS0"):
            self._wrong("log", f"is {values['log']!r}, which is the console already")
        if values.get("icount") and values.get("accel") == "kvm":
            self._wrong("icount", 'does not go with accel = "kvm": it needs software emulation')

    def _value(self, key: str, value: object) -> object:
        check = _CHECKS[key]
        return check(self, key, value)

    def _wrong(self, key: str, complaint: str) -> DefinitionError:
        raise DefinitionError(f"{self._path}: the key {key!r} {complaint}")

    def _only_known(self, table: Mapping[str, Any], known: list[str], prefix: str, because: str = "") -> None:
        for key in table:
            if key not in known:
                raise DefinitionError(
                    f"{self._path}: {prefix + key!r} is no key{because}{_suggest(key, known)}; "
                    f"the keys are {_listed(known)}"
                )

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            self._wrong(key, f"must be a text that is not empty, not {value!r}")
        text = cast(str, value)
        if "\n" in text or "\0" in text:
            self._wrong(key, "must be one line")
        return text

    def _word(self, pattern: re.Pattern[str], what: str) -> Callable[[str, object], str]:
        def check(key: str, value: object) -> str:
            text = self._text(key, value)
            if not pattern.fullmatch(text):
                self._wrong(key, f"must be {what}, not {value!r}")
            return text

        return check

    def _choice(self, key: str, value: object, choices: tuple[str, ...]) -> str:
        if value not in choices:
            near = _suggest(value, list(choices)) if isinstance(value, str) else ""
            said = "is missing: it" if value is None else f"is {value!r}{near}, but"
            self._wrong(key, f"{said} must be one of {_listed(list(choices))}")
        return cast(str, value)

    def _whole(self, key: str, value: object, least: int, most: int, unit: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self._wrong(key, f"must be a whole number from {least} to {most}{unit}, not {value!r}")
        return cast(int, value)

    def _seconds(self, key: str, value: object) -> float:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
        if not 0 < number <= 86400:
            self._wrong(key, f"must be a number of seconds above 0 and up to 86400, not {value!r}")
        return float(number)

    def _flag(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            self._wrong(key, f"must be true or false, not {value!r}")
        return cast(bool, value)

    def _patterns(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._wrong(key, "must be a list of regular expressions")
        patterns = tuple(cast(list[str], value))
        for pattern in patterns:
            try:
                matches_nothing = re.compile(pattern).search("") is not None
            except re.error as error:
                self._wrong(key, f"has {pattern!r}, which is no regular expression: {error}")
            else:
                if matches_nothing:
                    self._wrong(key, f"has {pattern!r}, which matches every line")
        return patterns

    def _texts(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self._wrong(key, "must be a list of texts that are not empty")
        return tuple(cast(list[str], value))

    def _paths(self, key: str, value: object) -> tuple[str, ...]:
        paths = (value,) if isinstance(value, str) else value
        if not isinstance(paths, tuple | list) or not paths or not all(_is_path(each) for each in paths):
            self._wrong(key, "must be an absolute path without blanks, or a list of them")
        return tuple(cast(Sequence[str], paths))

    def _file(self, key: str, value: object) -> Path:
        return Path(os.path.normpath((self._path.parent / Path(self._text(key, value)).expanduser()).absolute()))

    def _semantics(self, key: str, value: object) -> tuple[str, tuple[tuple[str, object], ...]]:
        """Return the preset, and what is to be changed in it; what fields there are, the model knows."""
        if not isinstance(value, dict):
            return self._text(key, value), ()
        table = dict(cast(dict[str, object], value))
        if "preset" not in table:
            self._wrong(f"{key}.preset", "is missing: it names the semantics that the other keys change")
        return self._text(f"{key}.preset", table.pop("preset")), tuple(table.items())

    def _quiescence(self, key: str, value: object) -> Quiescence:
        if not isinstance(value, dict):
            self._wrong(key, f"must be a table, [quiescence], not {value!r}")
        table = dict(cast(dict[str, object], value))
        self._only_known(table, [field.name for field in fields(Quiescence)], f"{key}.")
        most = {"interval_ms": 1000, "still": 100, "bound_ms": 10000}
        least = {"interval_ms": 1, "still": 0, "bound_ms": 1}
        probe = self._flag(f"{key}.probe", table.pop("probe", False))
        numbers = {part: self._whole(f"{key}.{part}", table[part], least[part], most[part], "") for part in table}
        return Quiescence(**numbers, probe=probe)

    def _counts(self, key: str, value: object) -> KernelCounts:
        if not isinstance(value, dict):
            self._wrong(key, f"must be a table, [counts], not {value!r}")
        table = cast(dict[str, object], value)
        reader = self._choice(f"{key}.reader", table.get("reader", "symbol"), ("symbol", "vmcoreinfo"))
        known = [each.name for each in fields(KernelCounts)] if reader == "symbol" else ["reader"]
        self._only_known(table, known, f"{key}.", because=f' of counts with reader = "{reader}"')
        if reader == "symbol" and "symbol" not in table:
            self._wrong(f"{key}.symbol", "is missing: it is a regular expression for the array that holds the counts")
        checked = {part: _COUNTS[part](self, f"{key}.{part}", each) for part, each in table.items()}
        counts = KernelCounts(**{**checked, "reader": reader})
        if counts.stride and counts.offset + counts.width > counts.stride:
            last = counts.offset + counts.width
            self._wrong(f"{key}.stride", f"is {counts.stride}, and a count ends at byte {last} of its element")
        return counts

    def _pattern(self, key: str, value: object) -> str:
        (pattern,) = self._patterns(key, [value])
        return pattern

    def _numbers(self, key: str, value: object) -> tuple[int, ...]:
        each_may_be = (-(1 << 63), (1 << 64) - 1)
        if not isinstance(value, list):
            self._wrong(key, "must be a list of whole numbers")
        return tuple(self._whole(key, each, *each_may_be, "") for each in cast(list[object], value))

    def _address(self, key: str, value: object) -> int:
        address = self._whole(key, value, -(1 << 63), (1 << 64) - 1, "")  # TOML has signed numbers alone
        return address & (1 << 64) - 1

    def _faults(self, key: str, value: object) -> tuple[str, ...]:
        if isinstance(value, str):  # of a kernel that is the same, but for its architecture
            value = self._said_by_another(key, self._file(key, value))
        if not isinstance(value, list) or not all(isinstance(each, str) and _FAULT_NAME.fullmatch(each) for each in value):
            self._wrong(key, "must be a list of names of small letters, digits and '-'")
        return tuple(cast(list[str], value))

    def _said_by_another(self, key: str, path: Path) -> object:
        """Return the value of `key` in the definition `path`."""
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))[key]
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
            raise self._wrong(key, f"names {path}, which is no definition with {key} of its own: {error}") from error

    def _kernel(self, key: str, value: object) -> KernelSource:
        if not isinstance(value, dict):
            self._wrong(key, f"must be a table, [kernel], not {value!r}")
        table = cast(dict[str, object], value)
        source = self._choice("kernel.source", table.get("source"), _SOURCES)
        needed = {"debian": ["package", "suite"], "file": ["path"], "build": ["path"], "given": []}[source]
        self._only_known(table, ["source", *needed, "load"], "kernel.", because=f' of a kernel with source = "{source}"')
        for part in needed:
            if part not in table:
                self._wrong(f"kernel.{part}", f'is missing; a kernel with source = "{source}" needs it')
        load = self._choice("kernel.load", table.get("load", "auto"), LOADS)
        if source == "given":
            return KernelSource(source, load=load)
        if source in ("file", "build"):
            return KernelSource(source, path=self._file("kernel.path", table["path"]), load=load)
        package = self._word(_PACKAGE_NAME, "the name of a Debian package")("kernel.package", table["package"])
        suite = self._word(_SUITE_NAME, "the name of a Debian suite")("kernel.suite", table["suite"])
        return KernelSource(source, package=package, suite=suite, load=load)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[^\s]+", value) is not None


def _suggest(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


_MOST_BYTES = 1 << 20
_COUNTS: dict[str, Callable[[Reader, str, object], Any]] = {
    "reader": lambda _r, _k, v: v,
    "symbol": Reader._pattern,
    "symbols": Reader._file,
    "pointer": Reader._flag,
    "at": lambda r, k, v: r._whole(k, v, 0, _MOST_BYTES, " bytes"),
    "base": lambda r, k, v: r._whole(k, v, 0, 1 << 40, " bytes"),
    "element": lambda r, k, v: r._choice(k, v, ELEMENTS),
    "offset": lambda r, k, v: r._whole(k, v, 0, _MOST_BYTES, " bytes"),
    "stride": lambda r, k, v: r._whole(k, v, 1, _MOST_BYTES, " bytes"),
    "index": lambda r, k, v: r._choice(k, v, ("pfn", "ram")),
    "bias": lambda r, k, v: r._whole(k, v, -1024, 1024, ""),
    "sole": lambda r, k, v: r._whole(k, v, -(1 << 63), (1 << 64) - 1, ""),
    "uncounted": Reader._numbers,
    "zero_if_free": Reader._flag,
    "holds": lambda r, k, v: r._choice(k, v, ("references", "entries")),
    "direct_map": Reader._address,
}
"""The checks of a [counts] table."""

_CHECKS: dict[str, Callable[[Reader, str, object], object]] = {
    "name": lambda r, k, v: r._word(_GUEST_NAME, "letters, digits, '.', '_', '+' and '-'")(k, v),
    "kind": lambda r, k, v: r._choice(k, v, _KINDS),
    "title": Reader._text,
    "semantics": Reader._semantics,
    "kernel": Reader._kernel,
    "arch": lambda r, k, v: r._choice(k, v, ARCHITECTURES),
    "memory_mb": lambda r, k, v: r._whole(k, v, 32, 65536, " MiB"),
    "swap_pages": lambda r, k, v: r._whole(k, v, 0, 65536, " pages"),
    "cpus": lambda r, k, v: r._whole(k, v, 1, 64, ""),
    "machine": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -machine")(k, v),
    "cpu": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -cpu")(k, v),
    "qemu": Reader._texts,
    "append": lambda r, k, v: v if v == "" else r._text(k, v),
    "init": Reader._paths,
    "init_by": lambda r, k, v: r._choice(k, v, _INIT_BY),
    "initramfs": lambda r, k, v: r._choice(k, v, _INITRAMFS),
    "console": lambda r, k, v: r._word(_CONSOLES, "a serial port (ttyS0, ttyAMA0) or hvc0")(k, v),
    "log": lambda r, k, v: r._word(_LOGS, "a serial port (ttyS1) or debugcon")(k, v),
    "accel": lambda r, k, v: r._choice(k, v, _ACCELERATORS),
    "icount": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -icount")(k, v),
    "boot_timeout_s": Reader._seconds,
    "answer_timeout_s": Reader._seconds,
    "mailbox": Reader._flag,
    "poweroff_status": lambda r, k, v: r._whole(k, v, 0, 255, ""),
    "panic_patterns": Reader._patterns,
    "quiescence": Reader._quiescence,
    "known_divergences": Reader._file,
    "counts": Reader._counts,
    "faults": Reader._faults,
}
