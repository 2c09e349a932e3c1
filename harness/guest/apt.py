"""Packages from the mirrors that this machine's own apt may reach, without root and without installing.

The machine's sources (/etc/apt) say which mirrors those are; nothing here names a host. They are copied
into a private folder, with the suite exchanged where the machine runs another one, and apt works on
private lists there: so it works where the machine's lists are empty, old, or not ours to write.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, ToolMissing
from harness.guest.cache import sha256_of, storage

APT_TIMEOUT_S = 300
_OS_RELEASE = Path("/etc/os-release")
_MACHINE_SOURCES = Path("/etc/apt")
_MOVING_SUITES = ("stable", "oldstable", "testing", "unstable", "sid")


@dataclass(frozen=True)
class Package:
    """One version of a package, as the mirror's signed index describes it."""

    name: str
    version: str
    sha256: str
    depends: str


class Apt:
    """An apt of our own, in `folder`, for packages of `suite`; call `update` first."""

    def __init__(self, folder: Path, suite: str, *, architecture: str, sources: Path = _MACHINE_SOURCES) -> None:
        self._folder = folder
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise ToolMissing(f"{tool} is not installed, so no kernel package can be fetched")
        with storage(f"the folder {folder}"):
            for name in ("lists/partial", "archives/partial", "sources", "unpacked"):
                (folder / name).mkdir(parents=True)
            for name, text in private_sources(sources, suite, _host_suite()).items():
                (folder / "sources" / name).write_text(text, encoding="utf-8")
        self._options = self._all_options(architecture)

    def update(self) -> None:
        """Fetch the lists. A source that fails is left out: what is missed shows when it is needed."""
        self._run("apt-get", "update", check=False)

    def versions(self, package: str) -> list[Package]:
        """Return the versions of `package` in all areas (main, security, updates), newest first.

        Raises ImageError where the mirrors have none.
        """
        said = self._run("apt-cache", "show", "--all-versions", package, check=False)
        stanzas = [dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", each, re.MULTILINE)) for each in said.split("\n\n")]
        found = {each["Version"]: each for each in stanzas if {"Version", "SHA256"} <= each.keys()}
        if not found:
            raise ImageError(f"the package {package} is not on the mirrors of this machine")
        return [Package(package, version, each["SHA256"], each.get("Depends", "")) for version, each in found.items()]

    def unpack(self, package: Package) -> Path:
        """Download `package`, check it against the index, and return the folder of its files."""
        archives = self._folder / "archives"
        self._run("apt-get", "download", f"{package.name}={package.version}", cwd=archives)
        found = list(archives.glob(f"{package.name}_*.deb"))
        if len(found) != 1:
            raise ImageError(f"apt-get download gave {len(found)} files for {package.name}, and not one")
        if sha256_of(found[0]) != package.sha256:
            raise ImageError(f"the package {package.name} arrived damaged: its SHA-256 is not the index's")
        target = self._folder / "unpacked" / package.name
        self._run("dpkg-deb", "-x", str(found[0]), str(target))
        found[0].unlink()
        return target

    def _all_options(self, architecture: str) -> list[str]:
        folder = self._folder
        settings = {
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder,
            "Dir::Cache::archives": folder / "archives",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "sources",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",  # where we are root: the folder is ours alone
            "Acquire::Languages": "none",
            "Acquire::Retries": 2,
            "Acquire::http::Timeout": 30,
            "Acquire::https::Timeout": 30,
            "Debug::NoLocking": "true",
        }
        return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]

    def _run(self, program: str, *arguments: str, check: bool = True, cwd: Path | None = None) -> str:
        options = self._options if program.startswith("apt") else []
        command = [program, *options, *(["-q"] if program == "apt-get" else []), *arguments]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=APT_TIMEOUT_S,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"{program} {arguments[0]} took longer than {APT_TIMEOUT_S} s") from error
        if check and done.returncode != 0:
            what = " ".join([program, *arguments[:2]])
            raise ImageError(f"{what} failed: {_last_complaint(done.stderr)}")
        return done.stdout


def _last_complaint(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb:"))]
    return (errors or lines or ["it gave no reason"])[-1]


def private_sources(machine: Path, suite: str, host_suite: str) -> dict[str, str]:
    """Return the source files to use for `suite`, by name: those of the machine that serve.

    Where the machine knows `suite` itself, only the sources that have it are used. Else those of the
    suite that it runs, `host_suite`, are used with the suite exchanged.
    """
    files = [machine / "sources.list", *sorted((machine / "sources.list.d").glob("*"))]
    texts = {path.name: _text_of(path) for path in files if path.suffix in (".list", ".sources")}
    for old in (suite, host_suite, *_MOVING_SUITES):
        chosen = {name: _rewritten(name, text, old, suite) for name, text in texts.items()}
        chosen = {name: text for name, text in chosen.items() if text}
        if old and chosen:
            return chosen
    raise ImageError("apt has no Debian mirror in /etc/apt to fetch a kernel from; pass --kernel IMAGE")


def _rewritten(name: str, text: str, old: str, new: str) -> str:
    rewrite = _stanza if name.endswith(".sources") else _entry
    separator = "\n\n" if name.endswith(".sources") else "\n"
    pieces = re.split(r"\n\s*\n", text) if name.endswith(".sources") else text.splitlines()
    kept = [piece for piece in (rewrite(piece, old, new) for piece in pieces) if piece]
    return separator.join(kept) + "\n" if kept else ""


def _stanza(stanza: str, old: str, new: str) -> str:
    """Exchange the suites of one deb822 stanza; empty where it has none of `old` or is no use."""
    lines = [line for line in stanza.splitlines() if line.strip() and not line.startswith("#")]
    fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", "\n".join(lines), re.MULTILINE))
    suites = _exchange(fields.get("Suites", "").split(), old, new)
    if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no" or not suites:
        return ""
    exchanged = {"Suites": f"Suites: {' '.join(suites)}", "Types": "Types: deb"}
    kept = [exchanged.get(line.partition(":")[0], line) for line in lines]
    return "\n".join([*kept, "Targets: Packages"])  # and no icons, contents, translations


def _entry(line: str, old: str, new: str) -> str:
    """Exchange the suite of one line of a sources.list; empty where it is another's, or a comment."""
    match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)", line.strip())
    suites = _exchange([match[3]], old, new) if match else []
    if match is None or not suites:
        return ""
    options = f"{match[1] or ''} target=Packages".strip()
    return f"deb [{options}] {match[2]} {suites[0]} {match[4]}"


def _exchange(suites: Sequence[str], old: str, new: str) -> list[str]:
    """Return the suites of `old` and its side suites (old-security), named after `new`."""
    return [new + suite.removeprefix(old) for suite in suites if suite == old or suite.startswith(f"{old}-")]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _host_suite() -> str:
    found = re.search(r'^VERSION_CODENAME="?([\w-]+)', _text_of(_OS_RELEASE), re.MULTILINE)
    return found[1] if found else ""
