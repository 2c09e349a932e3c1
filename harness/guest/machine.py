"""One QEMU process: its command line, its serial console, its monitor, and its end.

The console and the monitor are socket pairs whose far ends QEMU inherits: no path, no race between the
first boot message and our connecting, and nothing to clean up. The machine has no network, no disk and
no folder of the host.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import RigError, StorageError, ToolMissing
from harness.guest.child import start_child
from harness.guest.monitor import Monitor, MonitorError
from harness.guest.ram import BACKEND, GuestRam

TRANSLATION_CACHE_MB = 64  # QEMU's own default is a fraction of the host's memory, up to 1 GiB
_STDERR_TAIL = 2000
_MIGRATION_POLL_S = 0.01
_MIGRATION_S = 120
_RESUME_POLL_S = 0.002
_UNLIMITED = 1 << 40  # bytes a second; QEMU's default is 128 MiB

_EMULATORS = {
    "x86_64": ("qemu-system-x86_64", "qemu-system-x86"),
    "arm64": ("qemu-system-aarch64", "qemu-system-arm"),
}


class LaunchFailure(RigError):
    """QEMU did not start, or gave up; the error keeps its command line, exit code and last words."""

    def __init__(self, message: str, *, command: list[str], exit_code: int | None, stderr: str) -> None:
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr
        said = stderr.splitlines()  # QEMU begins what is wrong with its own name; a hint may follow
        words = next((f": {line}" for line in said if line.startswith("qemu-system")), f": {said[-1]}" if said else "")
        self.reason = f"{message} (exit status {exit_code}){words}"
        super().__init__(f"{self.reason}; its command line was: {shlex.join(command)}")


class MachineKilled(RigError):
    """Somebody on the host ended QEMU, such as the kernel's out-of-memory killer: no guest can do that."""


_BY_THE_HOST = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM})
"""The signals of which QEMU does not die by its own fault."""


@dataclass(frozen=True)
class Emulator:
    """The QEMU that is installed here."""

    path: Path
    version: str


def find_emulator(arch: str) -> Emulator:
    """Return the QEMU for `arch`; ToolMissing says how to install it."""
    program, package = _EMULATORS[arch]
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(f"{program} is not installed; get it with: apt-get install --no-install-recommends {package}")
    return Emulator(Path(found), _version_of(found, Path(found).stat().st_mtime_ns))


@lru_cache
def _version_of(program: str, _changed: int) -> str:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolMissing(f"{program} is installed but does not run: {error}") from error
    return said.stdout.splitlines()[0].strip() if said.stdout else "unknown version"


@dataclass(frozen=True)
class MachineSpec:
    """All that decides what a machine is; two machines of one spec can use one snapshot."""

    emulator: Emulator
    kernel: Path
    initramfs: Path | None  # None where the kernel has it inside
    append: str
    memory_mb: int
    cpus: int
    machine: str
    cpu: str
    accelerator: str  # "tcg" or "kvm"
    icount: str | None = None
    arch: str = "x86_64"
    console: str = "ttyS0"
    log: str = ""  # where the kernel logs, if not on the console
    qemu: tuple[str, ...] = ()  # further arguments
    poweroff_status: int = 0  # of QEMU, after the guest powered off in good order

    def arguments(self, backend: str | None = None) -> list[str]:
        """Return QEMU's command line, without the ends of the console and the monitor; `backend` is where its memory is."""
        # One thread for all CPUs: programs take turns, and a CPU whose thread the host has put aside in the middle of a
        # lock costs the others more than its work would (two CPUs on a busy host: three times faster so).
        accel = f"tcg,thread=single,tb-size={TRANSLATION_CACHE_MB}" if self.accelerator == "tcg" else "kvm"
        command = [
            str(self.emulator.path),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]
        command += ["-object", backend or f"memory-backend-ram,id={BACKEND},size={self.memory_mb << 20}"]
        machine = f"{self.machine},memory-backend={BACKEND}"
        command += ["-nic", "none", "-machine", machine, "-accel", accel, "-cpu", self.cpu]
        command += ["-smp", str(self.cpus), "-m", f"{self.memory_mb}M"]
        command += ["-kernel", str(self.kernel), *(["-initrd", str(self.initramfs)] if self.initramfs else [])]
        command += ["-append", self.append] if self.append else []
        if self.icount:
            command += ["-icount", self.icount]
        return command + list(self.qemu)

    def ports(self) -> list[str]:
        """Return the arguments that connect the character devices `console` and `log` (where there is one)."""
        wired = {self.console: "console", **({self.log: "log"} if self.log else {})}
        serial = {int(name[-1]): device for name, device in wired.items() if name.startswith("tty")}
        command: list[str] = []
        for number in range(max(serial, default=-1) + 1):
            command += ["-serial", f"chardev:{serial[number]}" if number in serial else "null"]
        if "hvc0" in wired:
            command += ["-device", "virtio-serial-pci", "-device", f"virtconsole,chardev={wired['hvc0']}"]
        if "debugcon" in wired:
            command += ["-device", f"isa-debugcon,iobase=0xe9,chardev={wired['debugcon']}"]
        return command


class Machine:
    """A running QEMU; `console` is the near end of its console, `log` that of the kernel's own log where it has one, `ram`
    its memory, unless `no_ram` says why not.
    """

    def __init__(self, spec: MachineSpec, *, incoming: Path | None = None) -> None:
        """Start QEMU, from the snapshot `incoming` where one is given.

        Raises LaunchFailure where it cannot be started, FileNotFoundError without that snapshot.
        """
        self._monitor: Monitor | None = None
        self._poweroff_status = spec.poweroff_status
        self.ram: GuestRam | None = None
        self.no_ram = ""
        try:
            self.ram = GuestRam(spec.arch, spec.memory_mb)
        except StorageError as error:
            self.no_ram = str(error)
        with ExitStack() as inherited:
            state = inherited.enter_context(incoming.open("rb")) if incoming else None
            self.console, console_end = socket.socketpair()
            self._monitor_socket, monitor_end = socket.socketpair()
            self.log: socket.socket | None = None
            log_end: socket.socket | None = None
            if spec.log:
                self.log, log_end = socket.socketpair()
            self._stderr = os.memfd_create("qemu-stderr")
            ends = [inherited.enter_context(end) for end in (console_end, monitor_end)]
            fds = [end.fileno() for end in ends] + ([state.fileno()] if state else [])
            self.command = spec.arguments(self.ram.backend() if self.ram else None) + _attach(*fds)
            if log_end is not None:
                fds.append(inherited.enter_context(log_end).fileno())
                self.command += ["-chardev", f"socket,id=log,fd={fds[-1]}"]
            self.command += spec.ports()
            fds += [self.ram.fd] if self.ram else []
            try:
                self._process = start_child(self.command, pass_fds=fds, stderr=self._stderr)
            except OSError as error:
                self._release()
                raise LaunchFailure(
                    "QEMU could not be started", command=self.command, exit_code=None, stderr=str(error)
                ) from error

    @property
    def pid(self) -> int:
        """The process number of QEMU."""
        return self._process.pid

    def stderr(self) -> str:
        """Return the end of what QEMU itself said."""
        size = os.fstat(self._stderr).st_size
        text = os.pread(self._stderr, _STDERR_TAIL, max(0, size - _STDERR_TAIL))
        return text.decode("utf-8", "replace").strip()

    def wait_exit(self, timeout_s: float) -> int | None:
        """Return QEMU's exit status, None where it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def ending(self, timeout_s: float) -> str:
        """Say how the machine ended by itself, as far as QEMU's exit status tells: "the machine …".

        Raises MachineKilled where it did not end by itself.
        """
        status = self.wait_exit(timeout_s)
        if status is not None and -status in _BY_THE_HOST:
            name = signal.Signals(-status).name
            raise MachineKilled(f"somebody on this host killed QEMU ({name}); if nobody did, memory ran out: see dmesg")
        if status == self._poweroff_status:
            return "the machine powered off or rebooted by itself"
        return "the machine stopped" if status is None else f"the machine ended itself with exit status {status}"

    def launch_failure(self, message: str) -> LaunchFailure:
        """Return the error for a QEMU that went away by itself, with its evidence."""
        return LaunchFailure(message, command=self.command, exit_code=self._process.poll(), stderr=self.stderr())

    def monitor(self) -> Monitor:
        """Return the connected monitor; MonitorError where QEMU does not answer."""
        if self._monitor is None:
            self._monitor = Monitor(self._monitor_socket)
        return self._monitor

    def save_state(self, fd: int) -> None:
        """Write the machine's state to the file `fd`, and stop it; MonitorError where QEMU cannot.

        It is not stopped before that: who was stopped when saved is stopped when resumed.
        """
        monitor = self.monitor()
        monitor.command("migrate-set-parameters", **{"max-bandwidth": _UNLIMITED})
        monitor.give_fd("snapshot", fd)
        monitor.command("migrate", uri="fd:snapshot")
        deadline = time.monotonic() + _MIGRATION_S
        while True:
            progress = monitor.command("query-migrate")
            if progress.get("status") == "completed":
                return
            if progress.get("status") in ("failed", "cancelled"):
                raise MonitorError(progress.get("error-desc", "QEMU could not write its state"))
            if time.monotonic() > deadline:
                raise MonitorError(f"QEMU took longer than {_MIGRATION_S} s to write its state")
            time.sleep(_MIGRATION_POLL_S)

    def wait_running(self, timeout_s: float) -> None:
        """Wait until a machine has loaded the snapshot it was started from; MonitorError if it does not.

        What is sent to the console before is lost in a serial port that the snapshot then overwrites.
        """
        deadline = time.monotonic() + timeout_s
        while self.monitor().command("query-status").get("status") != "running":
            if time.monotonic() > deadline:
                raise MonitorError(f"QEMU did not load a snapshot within {timeout_s:g} s")
            time.sleep(_RESUME_POLL_S)

    def resident_bytes(self) -> int:
        """Return how much host memory QEMU holds; 0 where it is gone."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
            found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)
            return int(found[1]) * 1024 if found else 0
        return 0

    def close(self) -> None:
        """Kill QEMU and release everything; safe to call twice."""
        if self._stderr < 0:
            return
        self._process.kill()
        self._process.wait()
        self._release()

    def _release(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
        self._monitor_socket.close()
        self.console.close()
        if self.log is not None:
            self.log.close()
        if self.ram is not None:
            self.ram.close()
        os.close(self._stderr)
        self._stderr = -1


def _attach(console_fd: int, monitor_fd: int, state_fd: int | None = None) -> list[str]:
    return [
        *("-chardev", f"socket,id=console,fd={console_fd}"),
        *("-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"),
        *(("-incoming", f"fd:{state_fd}") if state_fd is not None else ()),
    ]
