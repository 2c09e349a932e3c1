"""Guest definitions: which kernel on which machine, as data in a TOML file.

::

    name = "mine"                         # what reports call it
    kind = "qemu"                         # or "model": in-process, with name, title and semantics only
    title = "my kernel, with its page allocator of today"
    semantics = "any-kernel"              # the model's preset for this kernel's choices; or a table:
    # [semantics]
    # preset = "linux-6.1"
    # prefault_budget = 8                 # any field of harness/model/semantics.py
    [kernel]
    source = "file"                       # a file, relative to the definition …
    path = "kernel.elf"
    # load = "auto"                       # how QEMU starts it: see LOADS
    # source = "debian", package = "linux-image-cloud-amd64", suite = "bookworm"   # … or a package
    # source = "build", path = "../kernels/mini"    # … or a folder with a Makefile that makes mini-ARCH
    # source = "given"                    # … or whatever --kernel says

Every other key has a default, see `GuestDefinition`. A definition that makes no sense is a
DefinitionError of one sentence, which names the file and the key.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.errors import DefinitionError
from harness.guest.definition_values import ARCHITECTURES, KernelCounts, KernelSource, Quiescence, Reader

DEFINITIONS = Path(__file__).resolve().parents[2] / "fixtures" / "guests"

# loglevel=5, not quiet: WARN_ON prints at level 4, which quiet hides. 115200: QEMU's 16550 is 5 ms
# slower a round trip at Linux's default of 9600. The second line, and what follows it, takes a tenth off
# the time of a program: work beside the memory management that is tested (and init_on_alloc would hide a
# frame that is handed out with its old bytes). The last word: since Linux 6.12 a kernel may be built to refuse stores
# through /proc/PID/mem that the protection forbids (CONFIG_PROC_MEM_FORCE_PTRACE), which are to be tested.
_LINUX_APPEND = (
    "console={console},115200 loglevel=5 panic=-1 reboot=t nokaslr {arch}transparent_hugepage=never norandmaps "
    "random.trust_cpu=on vdso=0 init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off psi=0 "
    "lsm= proc_mem.force_override=always"
)
_X86_APPEND = "tsc=reliable no_timer_check mitigations=off "

LATE_LINUX = Quiescence(still=0, bound_ms=500)
"""Page-table pages are freed by RCU, a grace period after the process that had them (mm: PT_RECLAIM, since Linux 6.14)."""

# Lines of a kernel that broke. Never plain "BUG", which is in "DEBUG". A debug kernel has words of its own: those of
# VM_BUG_ON_PAGE, which names the condition before it says where (mm/debug.c), of lockdep, SLUB, SLAB, page poisoning,
# and of tables with entries that make no sense (pmd_ERROR).
LINUX_PANICS = (
    r"Kernel panic",
    r"\bBUG: ",
    r"\bBUG \S+ \([^)]*ainted[^)]*\): ",
    r"\bOops: ",
    r"kernel BUG at ",
    r"page dumped because: VM_",
    r"general protection fault",
    r"\bWARNING: (CPU|possible|suspicious|bad|.* at )",
    r"\bWARNING: (.*\block (order|state|held)\b|held lock|.* locks? held|Nested lock|chain_key)",
    r"INFO: trying to register non-static key",
    r"pagealloc: (single bit error|memory corruption)",
    r"\b[Ss]lab (corruption \(|error in )|\bslab: double free",
    r": bad (pte|pmd|pud|p4d|pgd) ",
    r" \[#\d+\]( |$)",
    r"hard LOCKUP",
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
class _Machine:
    """What an architecture's guests get where their definition does not say."""

    machine: str
    cpu: str
    console: str


_MACHINES = {
    "x86_64": _Machine("pc", "qemu64", "ttyS0"),
    "arm64": _Machine("virt", "cortex-a57", "ttyAMA0"),
}


_NO_KERNEL = KernelSource("")
_AT_ONCE = Quiescence()


@dataclass(frozen=True)
class GuestDefinition:
    """One guest, complete: what `load_definition` read, with defaults for what was not said.

    `init`      where the initramfs holds the agent: the first is the one that the kernel is told to start.
    `init_by`   how it is told: "rdinit" or "init" on the command line, or not at all ("path"), where the
                kernel starts a path that it knows by itself.
    `initramfs` how it gets in: "qemu" hands it over beside the image, "embedded" is in the image already
                (see `python -m harness initramfs`), "patch" replaces the one inside a copy of the image.
    `console`   the device that the kernel's first process finds open: a serial port, or "hvc0" (virtio).
    `log`       where the kernel logs, if not there: another serial port, or "debugcon" (port 0xe9).
    `swap_pages` how many pages of swap the agent makes in a disk in memory (/dev/ram0); 0: none.
    `poweroff_status`  QEMU's exit status after a clean power-off, where it is not 0 (isa-debug-exit).
    """

    name: str
    kind: str
    title: str
    semantics: str
    overrides: tuple[tuple[str, object], ...] = ()  # of the [semantics] table
    kernel: KernelSource = _NO_KERNEL
    arch: str = "x86_64"
    memory_mb: int = 128
    swap_pages: int = 0
    cpus: int = 1
    machine: str = "pc"
    cpu: str = "qemu64"
    qemu: tuple[str, ...] = ()
    append: str = ""
    init: tuple[str, ...] = ("/init",)
    init_by: str = "rdinit"
    initramfs: str = "qemu"
    console: str = "ttyS0"
    log: str = ""
    accel: str = "auto"
    icount: str | None = None
    boot_timeout_s: float = 60.0
    answer_timeout_s: float = 30.0
    mailbox: bool = True  # messages go through the machine's RAM, where that is possible
    poweroff_status: int = 0
    panic_patterns: tuple[str, ...] = LINUX_PANICS
    quiescence: Quiescence = _AT_ONCE
    known_divergences: Path | None = None
    counts: KernelCounts | None = None  # where its counts lie in its memory, for who looks from outside
    faults: tuple[str, ...] = ()  # those that it can be told to have, by `fault=NAME[,NAME]`; or whose file has the same
    file: Path | None = None  # where it was read; no key

    def with_kernel(self, path: Path) -> GuestDefinition:
        """Return this definition with the kernel image `path` in the place of its own.

        A Linux of another version is held to what every Linux may do, and waited for as the newest needs it.
        """
        kernel = KernelSource("file", path=path.absolute(), load=self.kernel.load)
        if not self.semantics.startswith("linux"):
            return replace(self, kernel=kernel)
        late = self.quiescence if self.quiescence.bound_ms else LATE_LINUX
        return replace(self, kernel=kernel, semantics="linux", quiescence=late)

    def with_faults(self, names: tuple[str, ...]) -> GuestDefinition:
        """Return this definition with faults switched on in its kernel; `names` are some of `faults`."""
        return self.with_append(f"fault={','.join(names)}") if names else self

    def with_append(self, words: str) -> GuestDefinition:
        """Return this definition with `words` at the end of the kernel's command line."""
        return replace(self, append=f"{self.append} {words}".strip()) if words.strip() else self

    @property
    def has_another_cpu(self) -> bool:
        """Whether its CPU is another than guests of its architecture have where they do not say."""
        return self.cpu != _MACHINES[self.arch].cpu

    @property
    def command_line(self) -> str:
        """The kernel's command line."""
        return self.append if self.init_by == "path" else f"{self.append} {self.init_by}={self.init[0]}".strip()


def list_definitions(folder: Path = DEFINITIONS) -> list[str]:
    """Return the names that `load_definition` knows, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def every_guest() -> list[str]:
    """Return the names of the guests that bring a kernel of their own, sorted."""
    return [name for name in list_definitions() if load_definition(name).kernel.source != "given"]


def load_definition(name_or_path: str | Path, *, folder: Path = DEFINITIONS, arch: str | None = None) -> GuestDefinition:
    """Read a definition by its name in `folder`, or by the path of a .toml file; `arch` takes the place of its own.

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
    if arch is not None and table.get("kind") == "qemu":
        _check_arch(arch)
        table["arch"] = arch
    keys = [field.name for field in fields(GuestDefinition) if field.name not in ("file", "overrides")]
    values = Reader(path).values(table, keys)
    return GuestDefinition(**_with_machine(values), file=path)


def _check_arch(arch: str) -> None:
    if arch not in ARCHITECTURES:
        raise DefinitionError(f"there are no guests of architecture {arch!r}; known are {', '.join(ARCHITECTURES)}")


def _with_machine(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what depends on the architecture."""
    if values["kind"] != "qemu":
        return values
    arch = values.get("arch", "x86_64")
    machine = _MACHINES[arch]
    console = values.get("console", machine.console)
    append = _LINUX_APPEND.format(console=console, arch=_X86_APPEND if arch == "x86_64" else "")
    return {"machine": machine.machine, "cpu": machine.cpu, "console": console, "append": append, **values}


def _find(wanted: str, folder: Path) -> Path:
    if wanted.endswith(".toml") or "/" in wanted:
        return Path(wanted)
    path = folder / f"{wanted}.toml"
    if wanted and path.is_file():
        return path
    known = list_definitions(folder)
    close = difflib.get_close_matches(wanted, known, n=1)
    raise DefinitionError(
        f"there is no guest {wanted!r}{f' (did you mean {close[0]!r}?)' if close else ''}; known guests are "
        f"{', '.join(known) or 'none'}, and a path that ends in .toml names a definition of your own"
    )
