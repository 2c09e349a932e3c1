"""Guest definitions: which kernel on which machine, as data in a TOML file.

::

    name = "linux"                        # what reports call it
    kind = "qemu"                         # or "model": in-process, with name, title and semantics only
    title = "Linux 6.1 (Debian 12)"
    semantics = "linux-6.1"               # the model's preset for this kernel's choices
    [kernel]
    source = "debian"                     # a package …
    package = "linux-image-cloud-amd64"
    suite = "bookworm"
    # source = "file", path = "bzImage"   # … or a file, relative to the definition
    # source = "build", path = "../kernels/mini"  # … or a folder with a Makefile, likewise

Every other key has a default, see `GuestDefinition`. A definition that makes no sense is a
DefinitionError of one sentence, which names the file and the key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from harness.errors import DefinitionError

DEFINITIONS = Path(__file__).resolve().parents[2] / "fixtures" / "guests"

# loglevel=5, not quiet: WARN_ON prints at level 4, which quiet hides. 115200: QEMU's serial port is 5 ms
# slower a round trip at Linux's default of 9600.
LINUX_APPEND = (
    "console=ttyS0,115200 loglevel=5 panic=-1 reboot=t nokaslr tsc=reliable no_timer_check "
    "mitigations=off transparent_hugepage=never norandmaps random.trust_cpu=on"
)

# Lines of a kernel that broke. Never plain "BUG", which is in "DEBUG".
LINUX_PANICS = (
    r"Kernel panic",
    r"\bBUG: ",
    r"\bOops: ",
    r"kernel BUG at ",
    r"general protection fault",
    r"\bWARNING: (CPU|possible|suspicious|bad|.* at )",
    r"[Uu]nable to handle (kernel|page fault)",
    r"double fault",
    r"Bad page (state|map|cache)",
    r"Bad rss-counter",
    r"refcount_t: ",
    r"swap_info_get: ",
    r"rcu: INFO: .*(stall|detected)",
    r"soft lockup|hung_task|blocked for more than",
    r"KASAN:|UBSAN:|KFENCE:|KCSAN:",
    r"Out of memory and no killable processes",
)


@dataclass(frozen=True)
class KernelSource:
    """Where a kernel image comes from: a Debian package of a suite, a file, or a folder with its sources."""

    source: str
    package: str = ""
    suite: str = ""
    path: Path | None = None


@dataclass(frozen=True)
class GuestDefinition:
    """One guest, complete: what `load_definition` read, with defaults for what was not said."""

    name: str
    kind: str
    title: str
    semantics: str
    kernel: KernelSource = KernelSource("")
    arch: str = "x86_64"
    memory_mb: int = 128
    cpus: int = 1
    machine: str = "pc"
    cpu: str = "qemu64"
    append: str = LINUX_APPEND
    init: str = "/init"
    accel: str = "auto"
    icount: str | None = None
    boot_timeout_s: float = 60.0
    answer_timeout_s: float = 30.0
    mailbox: bool = True  # messages go through the machine's RAM, where that is possible
    panic_patterns: tuple[str, ...] = LINUX_PANICS
    faults: tuple[str, ...] = ()  # those that this kernel can be told to have, by `fault=NAME[,NAME]`
    file: Path | None = None  # where it was read; no key

    def with_kernel(self, path: Path) -> GuestDefinition:
        """Return this definition with the kernel image `path` in the place of its own."""
        return replace(self, kernel=KernelSource("file", path=path.absolute()))

    def with_faults(self, names: tuple[str, ...]) -> GuestDefinition:
        """Return this definition with faults switched on in its kernel; `names` are some of `faults`."""
        return replace(self, append=f"{self.append} fault={','.join(names)}") if names else self

    @property
    def command_line(self) -> str:
        """The kernel's command line."""
        return f"{self.append} rdinit={self.init}"


def list_definitions(folder: Path = DEFINITIONS) -> list[str]:
    """Return the names that `load_definition` knows, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_definition(name_or_path: str | Path, *, folder: Path = DEFINITIONS) -> GuestDefinition:
    """Read a definition by its name in `folder`, or by the path of a .toml file.

    Raises DefinitionError where there is none, where it is no TOML, and for unknown keys, wrong types
    and impossible values.
    """
    path = _find(str(name_or_path), folder)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"{path}: the guest definition cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: the guest definition is no TOML: {error}") from error
    return _Reader(path).definition(table)


def _find(wanted: str, folder: Path) -> Path:
    if wanted.endswith(".toml") or "/" in wanted:
        return Path(wanted)
    path = folder / f"{wanted}.toml"
    if wanted and path.is_file():
        return path
    known = list_definitions(folder)
    raise DefinitionError(
        f"there is no guest {wanted!r}{_suggest(wanted, known)}; known guests are {_listed(known)}, "
        "and a path that ends in .toml names a definition of your own"
    )


def _suggest(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


_KINDS = ("qemu", "model")
_ARCHITECTURES = ("x86_64",)
_SOURCES = ("debian", "file", "build")
_ACCELERATORS = ("auto", "tcg", "kvm")
_MODEL_KEYS = ("name", "kind", "title", "semantics")
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_SUITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]*")
_GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FAULT_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_QEMU_WORD = re.compile(r"[A-Za-z0-9][^\s]*")


class _Reader:
    """Checks one definition; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def definition(self, table: Mapping[str, Any]) -> GuestDefinition:
        known = [field.name for field in fields(GuestDefinition) if field.name != "file"]
        self._only_known(table, known, "")
        kind = self._choice("kind", table.get("kind"), _KINDS)
        if kind == "model":
            self._only_known(table, list(_MODEL_KEYS), "", because=' of a guest of kind "model"')
        required = ("name", "title", "semantics", *(("kernel",) if kind == "qemu" else ()))
        for key in required:
            if key not in table:
                self._wrong(key, "is missing")
        values: dict[str, Any] = {key: self._value(key, table[key]) for key in table}
        return GuestDefinition(**values, file=self._path)

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

    def _truth(self, key: str, value: object) -> bool:
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

    def _faults(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) and _FAULT_NAME.fullmatch(each) for each in value):
            self._wrong(key, "must be a list of names of small letters, digits and '-'")
        return tuple(cast(list[str], value))

    def _kernel(self, key: str, value: object) -> KernelSource:
        if not isinstance(value, dict):
            self._wrong(key, f"must be a table, [kernel], not {value!r}")
        table = cast(dict[str, object], value)
        source = self._choice("kernel.source", table.get("source"), _SOURCES)
        known = ["source", "package", "suite"] if source == "debian" else ["source", "path"]
        self._only_known(table, known, "kernel.", because=f' of a kernel with source = "{source}"')
        for part in known:
            if part not in table:
                self._wrong(f"kernel.{part}", f'is missing; a kernel with source = "{source}" needs it')
        if source in ("file", "build"):
            path = Path(self._text("kernel.path", table["path"])).expanduser()
            return KernelSource(source, path=(self._path.parent / path).absolute())
        package = self._word(_PACKAGE_NAME, "the name of a Debian package")("kernel.package", table["package"])
        suite = self._word(_SUITE_NAME, "the name of a Debian suite")("kernel.suite", table["suite"])
        return KernelSource(source, package=package, suite=suite)


_CHECKS: dict[str, Callable[[_Reader, str, object], object]] = {
    "name": lambda r, k, v: r._word(_GUEST_NAME, "letters, digits, '.', '_', '+' and '-'")(k, v),
    "kind": lambda r, k, v: r._choice(k, v, _KINDS),
    "title": _Reader._text,
    "semantics": _Reader._text,
    "kernel": _Reader._kernel,
    "arch": lambda r, k, v: r._choice(k, v, _ARCHITECTURES),
    "memory_mb": lambda r, k, v: r._whole(k, v, 32, 65536, " MiB"),
    "cpus": lambda r, k, v: r._whole(k, v, 1, 64, ""),
    "machine": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -machine")(k, v),
    "cpu": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -cpu")(k, v),
    "append": _Reader._text,
    "init": lambda r, k, v: r._word(re.compile(r"/[^\s]+"), "an absolute path without blanks")(k, v),
    "accel": lambda r, k, v: r._choice(k, v, _ACCELERATORS),
    "icount": lambda r, k, v: r._word(_QEMU_WORD, "one word for QEMU's -icount")(k, v),
    "boot_timeout_s": _Reader._seconds,
    "answer_timeout_s": _Reader._seconds,
    "mailbox": _Reader._truth,
    "panic_patterns": _Reader._patterns,
    "faults": _Reader._faults,
}
