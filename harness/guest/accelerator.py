"""KVM or software emulation, and why.

That /dev/kvm opens proves little: on some virtual hosts it creates machines which never get past the
firmware. So KVM is believed after a real boot of the very kernel under a short deadline, and the answer
is remembered until the host reboots, or QEMU or the kernel changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import PagepactError, StorageError, ToolMissing
from harness.guest.cache import cache_folder, locked, prune, write_atomically

TRIAL_S = 5.0  # a kernel that runs on KVM boots within one or two
KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KEEP = 32


@dataclass(frozen=True)
class Accelerator:
    """What QEMU runs the guest with: `name` is "kvm" or "tcg"."""

    name: str
    reason: str


def choose_accelerator(
    wanted: str,
    *,
    icount: bool,
    identity: str,
    trial: Callable[[float], None],
    foreign: str = "",
    device: Path = KVM,
) -> Accelerator:
    """Decide for a definition's `accel`; `trial(deadline_s)` boots with KVM and raises where that fails.

    `identity` stands for the machine, its kernel and its QEMU; `foreign` says why KVM cannot run it, where that is
    so. Raises ToolMissing where "kvm" is demanded and cannot be had.
    """
    if wanted == "tcg":
        return Accelerator("tcg", "the definition asks for it")
    if icount:
        return Accelerator("tcg", "the definition sets icount, which needs software emulation")
    refusal = foreign or _refusal(device)
    if wanted == "kvm":
        if refusal:
            raise ToolMissing(f'the guest\'s definition says accel = "kvm", but {refusal}')
        return Accelerator("kvm", "the definition asks for it")
    if refusal:
        return Accelerator("tcg", refusal)
    return _remembered(identity, trial)


def _refusal(device: Path) -> str:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device} cannot be opened: {error.strerror}"
    return ""


def _remembered(identity: str, trial: Callable[[float], None]) -> Accelerator:
    """Return the answer of an earlier trial since the host booted, or make the trial."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        folder = cache_folder("accelerator")
        path = folder / f"{hashlib.sha256(f'{boot_id} {identity}'.encode()).hexdigest()[:32]}.json"
        with locked(path):
            known = _read(path)
            if known is None:
                known = _try_kvm(trial)
                write_atomically(path, json.dumps(asdict(known)).encode())
                prune(folder, "*.json", keep=_KEEP, companions=(".json.lock",))
            return known
    except (OSError, StorageError):
        return _try_kvm(trial)  # nowhere to remember it


def _read(path: Path) -> Accelerator | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = Accelerator(str(record["name"]), str(record["reason"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return known if known.name in ("kvm", "tcg") else None


def _try_kvm(trial: Callable[[float], None]) -> Accelerator:
    try:
        trial(TRIAL_S)
    except PagepactError as error:
        return Accelerator("tcg", f"a trial boot with KVM failed: {getattr(error, 'reason', error)}")
    return Accelerator("kvm", "a trial boot with KVM succeeded")
