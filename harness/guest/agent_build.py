"""The agent, and kernels of our own: compiled from fixtures/ when their sources or the compiler changed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import ImageError, ToolMissing
from harness.guest.cache import cache_folder, locked, need_space, storage
from harness.guest.kernel_check import check_kernel_image, check_program

AGENT_SOURCES = Path(__file__).resolve().parents[2] / "fixtures" / "agent"
BUILD_TIMEOUT_S = 300
BUILD_MB = 16
_ZIG_TARGET = "-target {machine}-freestanding-none -mcpu={cpu}"
_ZIG_CPUS = {"x86_64": "x86_64-sse2-sse-x87-mmx+soft_float", "aarch64": "generic-neon-fp_armv8"}
"""Without floating-point registers: zig has them used whatever -mgeneral-regs-only says, and mini has none."""
_CANDIDATES = ("cc", "gcc", "clang", "{machine}-linux-gnu-gcc")
_MACHINES = {"arm64": "aarch64"}  # what compilers call an architecture, where we call it otherwise


def build_agent(arch: str, out_dir: Path | None = None, *, sources: Path = AGENT_SOURCES) -> Path:
    """Return the agent's ELF file for `arch`, compiled if need be, in `out_dir` (else in the cache).

    Raises ToolMissing without a compiler or make, ImageError where the agent does not compile.
    """
    return _build("agent", arch, sources, out_dir or cache_folder("agents"), check_program)


def build_kernel(name: str, arch: str, sources: Path) -> Path:
    """Return the ELF file NAME-ARCH of the kernel in the folder `sources`, compiled into the cache if need be.

    Raises ToolMissing without a compiler or make, ImageError where the kernel does not compile.
    """
    return _build(f"kernel {name}", arch, sources, cache_folder("kernels", "built"), check_kernel_image)


def _build(what: str, arch: str, sources: Path, where: Path, check: Callable[[Path, str], object]) -> Path:
    """Return the file that the Makefile in `sources` makes: the last word of `what`, and the architecture."""
    compiler = find_compiler(arch)
    folder = where / f"{arch}-{_fingerprint(sources, compiler, what)}"
    product = folder / f"{what.rsplit(maxsplit=1)[-1]}-{arch}"
    if product.is_file():
        return product
    with storage(f"the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(product):
        if not product.is_file():
            need_space(folder, BUILD_MB, f"compiling the {what}")
            _make(sources, folder, arch, compiler, what)
            check(product, arch)
    return product


def find_compiler(arch: str) -> str:
    """Return the command of a C compiler that makes programs for `arch`."""
    chosen = os.environ.get("CC")
    if chosen:
        if shutil.which(shlex.split(chosen)[0]) is None:
            raise ToolMissing(f"the compiler that CC names, {chosen}, is not there")
        return chosen
    machine = _MACHINES.get(arch, arch)
    for candidate in (name.format(machine=machine) for name in _CANDIDATES):
        if shutil.which(candidate) and _says(candidate, "-dumpmachine").startswith(machine):
            return candidate
    if shutil.which("clang") and shutil.which("ld.lld"):  # the linker of another machine's binutils would not do
        return f"clang --target={machine}-linux-gnu -fuse-ld=lld -Wno-unused-command-line-argument"
    if importlib.util.find_spec("ziglang") is not None:
        return f"{shlex.quote(sys.executable)} -m ziglang cc {_ZIG_TARGET.format(machine=machine, cpu=_ZIG_CPUS[machine])}"
    package = "gcc" if platform.machine() == machine else f"gcc-{machine.replace('_', '-')}-linux-gnu"
    raise ToolMissing(
        f"no C compiler for the agent on {arch}; get one with: apt-get install {package} make, or: pip install ziglang"
    )


def _says(compiler: str, option: str) -> str:
    try:
        done = subprocess.run([*shlex.split(compiler), option], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _fingerprint(sources: Path, compiler: str, what: str) -> str:
    """Return a hash of all that decides what the agent becomes."""
    digest = hashlib.sha256(f"{compiler}\n{_says(compiler, '--version')}".encode())
    try:
        files = sorted(path for path in sources.rglob("*") if path.is_file())
        if not files:
            raise ImageError(f"the {what}'s sources are not in {sources}")
        for path in files:
            digest.update(f"\n{path.relative_to(sources)}\n".encode() + path.read_bytes())
    except OSError as error:
        raise ImageError(f"the {what}'s sources in {sources} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:16]


def _make(sources: Path, folder: Path, arch: str, compiler: str, what: str) -> None:
    if shutil.which("make") is None:
        raise ToolMissing(f"make is not installed, and builds the {what}; get it with: apt-get install make")
    # Under `make test` our caller's flags are in the environment, and would change this make.
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "CFLAGS", "LDFLAGS")
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    command = ["make", "-C", str(sources), f"OUT={folder}", f"ARCH={arch}", f"CC={compiler}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT_S,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"compiling the {what} took longer than {BUILD_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise ImageError(f"the {what} does not compile with {compiler}: {_first_error(done.stderr)}")


def _first_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no reason given")
