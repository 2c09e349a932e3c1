"""Where pristine guests come from: a snapshot that all workers share, or else a boot."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.errors import GuestTrouble, ProtocolError, StorageError
from harness.guest.accelerator import Accelerator, choose_accelerator
from harness.guest.agent_build import build_agent
from harness.guest.boot_copy import bootable
from harness.guest.cache import cache_folder, locked, prune, sha256_of
from harness.guest.definition import GuestDefinition
from harness.guest.image import KernelImage, obtain_kernel
from harness.guest.initramfs import Swap, archives_of, build_initramfs, images_of
from harness.guest.kernel_check import check_program
from harness.guest.live import PING, LiveGuest, QemuGuest, boot, open_mailbox, resume
from harness.guest.machine import LaunchFailure, MachineSpec, find_emulator
from harness.guest.mailbox import MailboxLost
from harness.guest.snapshot import Snapshot

SETTLE_S = 0.2  # after the hello the kernel still frees its init memory and drains its queues
PING_S = 15.0
_KEEP_INITRAMFS = 8
_IN_USE_S = 1800


@dataclass
class SourceFacts:
    """What is known of a source once it has been used; `notes` are for the reader of a report."""

    accelerator: Accelerator = field(default_factory=lambda: Accelerator("", ""))
    kernel: Path | None = None
    kernel_version: str | None = None
    boot_seconds: float | None = None
    notes: list[str] = field(default_factory=list)


class GuestSource(Protocol):
    """Gives pristine guests, each as good as any other."""

    facts: SourceFacts

    def fresh(self) -> LiveGuest:
        """Return a guest that has answered, and has run nothing yet."""


class QemuSource:
    """Guests of one definition in QEMU."""

    def __init__(self, definition: GuestDefinition, *, agent: Path | None = None) -> None:
        self.facts = SourceFacts()
        self._definition = definition
        self._agent = agent
        self._prepared: tuple[MachineSpec, KernelImage] | None = None
        self._snapshots = True  # until the disk refuses them
        self._mailbox = True  # until it cannot be found

    def fresh(self) -> QemuGuest:
        """Return a guest from the snapshot, which is made where there is none; else a booted one.

        Raises RigError where a part is missing, BootFailure where the kernel does not come up.
        """
        spec, kernel = self._prepare()
        guest = self._from_snapshot_or_boot(spec, kernel)
        self._note(guest)
        if self._definition.mailbox and self._mailbox:
            self._open_mailbox(guest)
        return guest

    def _from_snapshot_or_boot(self, spec: MachineSpec, kernel: KernelImage) -> QemuGuest:
        if self._snapshots:
            try:
                return self._from_snapshot(spec, Snapshot.of(spec, kernel.sha256))
            except StorageError as error:
                self._snapshots = False
                self.facts.notes.append(f"no snapshot, so each restore is a boot: {error}")
        return self._boot(spec)

    def _open_mailbox(self, guest: QemuGuest) -> None:
        try:
            open_mailbox(guest, PING_S)
        except MailboxLost as lost:
            self._mailbox = False
            self.facts.notes.append(f"all messages go over the console: {lost}")
        except BaseException:
            guest.close()
            raise

    def booted(self) -> QemuGuest:
        """Return a guest that has just booted, snapshot or not; the facts say how long it took.

        Raises what `fresh` raises.
        """
        spec, _ = self._prepare()
        return self._boot(spec)

    def _from_snapshot(self, spec: MachineSpec, snapshot: Snapshot) -> QemuGuest:
        for _ in range(2):
            if not snapshot.usable():
                with locked(snapshot.path):
                    if not snapshot.usable():  # another worker may have made it meanwhile
                        self._make(spec, snapshot)
            try:
                return self._resumed(spec, snapshot)
            except FileNotFoundError:
                continue  # another worker pruned it just now
            except (GuestTrouble, LaunchFailure, ProtocolError) as error:
                self.facts.notes.append(f"a damaged snapshot was thrown away: {error}")
                snapshot.discard()
        raise StorageError("no snapshot of this guest can be loaded")

    def _resumed(self, spec: MachineSpec, snapshot: Snapshot) -> QemuGuest:
        guest = resume(spec, snapshot.path, self._definition.panic_patterns, PING_S)
        guest.console.warnings = snapshot.warnings()
        return guest

    def _make(self, spec: MachineSpec, snapshot: Snapshot) -> None:
        snapshot.need_space(spec.memory_mb)
        guest = self._boot(spec)
        try:
            guest.console.drain(SETTLE_S)
            # who says hello and then nothing sensible is not worth a snapshot, nor the wait for one to answer
            guest.channel.request(PING, timeout_s=min(PING_S, self._definition.answer_timeout_s))
            snapshot.save(guest.machine, guest.console.warnings)
        finally:
            guest.close()

    def _boot(self, spec: MachineSpec) -> QemuGuest:
        began = time.monotonic()
        guest = boot(spec, self._definition.panic_patterns, self._definition.boot_timeout_s)
        self.facts.boot_seconds = time.monotonic() - began
        return guest

    def _note(self, guest: QemuGuest) -> None:
        """Tell the reader of a report, once, what this guest warned of or has to do without."""
        notes = [f"the kernel warned while it booted: {warning}" for warning in guest.console.warnings]
        if guest.machine.no_ram:
            notes.append(f"the guest's memory cannot be seen from outside: {guest.machine.no_ram}")
        self.facts.notes += [note for note in notes if note not in self.facts.notes]

    def _prepare(self) -> tuple[MachineSpec, KernelImage]:
        if self._prepared is None or not _still_there(self._prepared[0]):
            original = obtain_kernel(self._definition)
            kernel = self._bootable(original)
            spec = self._accelerated(self._spec(kernel), kernel)
            self._prepared = (spec, kernel)
            self.facts.kernel = original.path  # where its symbols are
            self.facts.kernel_version = kernel.version
            self.facts.notes += filter(None, [kernel.note])
        return self._prepared

    def _spec(self, kernel: KernelImage) -> MachineSpec:
        definition = self._definition
        return MachineSpec(
            emulator=find_emulator(definition.arch),
            kernel=kernel.path,
            initramfs=self._initramfs(kernel) if definition.initramfs == "qemu" else None,
            append=definition.command_line,
            memory_mb=definition.memory_mb,
            cpus=definition.cpus,
            machine=definition.machine,
            cpu=definition.cpu,
            accelerator="tcg",
            icount=definition.icount,
            arch=definition.arch,
            console=definition.console,
            log=definition.log,
            qemu=definition.qemu,
            poweroff_status=definition.poweroff_status,
        )

    def _bootable(self, kernel: KernelImage) -> KernelImage:
        definition = self._definition
        swap = self._swap(kernel)
        archives = archives_of(self._agent_checked(), definition.init, swap) if definition.initramfs == "patch" else []
        return bootable(kernel, load=definition.kernel.load, initramfs=[each.content for each in archives])

    def _agent_checked(self) -> Path:
        agent = self._agent or build_agent(self._definition.arch)
        check_program(agent, self._definition.arch)
        return agent

    def _swap(self, kernel: KernelImage) -> Swap | None:
        pages = self._definition.swap_pages
        return Swap(pages, kernel.ramdisk) if pages else None

    def _initramfs(self, kernel: KernelImage) -> Path:
        agent, swap = self._agent_checked(), self._swap(kernel)
        folder = cache_folder("initramfs")
        parts = [agent, *images_of(agent), *([swap.module] if swap and swap.module else [])]
        identity = " ".join([*map(sha256_of, parts), *self._definition.init, str(self._definition.swap_pages)])
        path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.cpio"
        build_initramfs(agent, path, paths=self._definition.init, swap=swap)
        prune(folder, "*.cpio", keep=_KEEP_INITRAMFS, spare_s=_IN_USE_S)
        return path

    def _accelerated(self, spec: MachineSpec, kernel: KernelImage) -> MachineSpec:
        def trial(deadline_s: float) -> None:
            boot(replace(spec, accelerator="kvm"), self._definition.panic_patterns, deadline_s).close()

        definition = self._definition
        what = [
            kernel.sha256,
            spec.emulator.version,
            spec.machine,
            spec.cpu,
            str(spec.cpus),
            spec.append,
        ]
        self.facts.accelerator = choose_accelerator(
            definition.accel,
            icount=definition.icount is not None,
            foreign=_foreign(definition.arch),
            identity=hashlib.sha256("\n".join(what).encode()).hexdigest(),
            trial=trial,
        )
        return replace(spec, accelerator=self.facts.accelerator.name)


def _foreign(arch: str) -> str:
    """Say why KVM is out of the question for guests of `arch`; empty where it is not."""
    host = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"the guest is {arch}, and this machine is {host}" if host != arch else ""


def _still_there(spec: MachineSpec) -> bool:
    """Tell whether the initramfs is in the cache still, and keep it there: other runs prune what nobody uses."""
    if spec.initramfs is None:
        return True
    try:
        os.utime(spec.initramfs)
    except FileNotFoundError:
        return False
    return True
