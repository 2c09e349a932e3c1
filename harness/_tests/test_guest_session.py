from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import (
    BootFailure,
    GuestHung,
    GuestPanicked,
    ProtocolError,
    StorageError,
    ToolMissing,
)
from harness.guest import snapshot as snapshot_module
from harness.guest.accelerator import Accelerator, choose_accelerator
from harness.guest.channel import Channel
from harness.guest.console import Console
from harness.guest.definition import LINUX_PANICS, load_definition
from harness.guest.machine import Emulator, MachineSpec, find_emulator
from harness.guest.memory_transport import FakeAgent, MemoryTransport
from harness.guest.monitor import MonitorError
from harness.guest.session import Session, State
from harness.guest.snapshot import Snapshot, snapshot_key
from harness.guest.source import SourceFacts


class MemoryGuest:
    """A guest that is up and lives in this process."""

    def __init__(self) -> None:
        self.agent = FakeAgent(self._reply)
        self.transport = MemoryTransport(self.agent)
        self.channel = Channel(Console(self.transport, LINUX_PANICS))
        self.hello = self.channel.hello(1.0)
        self.closed = False
        self.pid = 1
        self.ram = None

    def _reply(self, request: bytes) -> bytes | None:
        if request == b"interrupt":
            raise KeyboardInterrupt
        if request == b"panic":
            self.agent.asides = b"Kernel panic - not syncing: test\n"
        return None if request in (b"panic", b"hang") else request

    def resident_bytes(self) -> int:
        return 123

    def whereabouts(self) -> list[str]:
        return ["CPU 0 runs the kernel"]

    def close(self) -> None:
        self.closed = True


class MemorySource:
    """Gives guests that live in this process; `failing` makes the next boot fail."""

    def __init__(self) -> None:
        self.facts = SourceFacts(accelerator=Accelerator("tcg", "it is a test"))
        self.guests: list[MemoryGuest] = []
        self.failing = False

    def fresh(self) -> MemoryGuest:
        if self.failing:
            raise BootFailure("it does not boot")
        self.guests.append(MemoryGuest())
        return self.guests[-1]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()


@pytest.fixture
def session(source: MemorySource) -> Session:
    return Session(load_definition("linux"), source=source)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEPACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_session_is_off_then_booted_then_off(session: Session) -> None:
    states = [session.state]
    session.start()
    states.append(session.state)
    session.close()
    states.append(session.state)

    assert states == [State.OFF, State.BOOTED, State.OFF]


def test_a_request_starts_the_guest(session: Session, source: MemorySource) -> None:
    assert session.request(b"abc") == b"abc"
    assert (session.hello, session.pid, session.resident_bytes) == (b"fake agent", 1, 123)
    assert (session.accelerator, session.accelerator_reason) == ("tcg", "it is a test")
    assert len(source.guests) == 1


def test_leaving_the_context_ends_the_machine(session: Session, source: MemorySource) -> None:
    with session:
        session.request(b"abc")

    assert source.guests[0].closed


def test_a_broken_session_repeats_its_first_failure(session: Session, source: MemorySource) -> None:
    with pytest.raises(GuestPanicked) as first:
        session.request(b"panic")
    with pytest.raises(GuestPanicked) as again:
        session.request(b"abc")

    assert again.value is first.value is session.failure
    assert session.state is State.BROKEN
    assert source.guests[0].agent.requests == [b"panic"]


def test_a_restore_mends_it(session: Session, source: MemorySource) -> None:
    with pytest.raises(GuestHung) as hung:
        session.request(b"hang", timeout_s=1)
    assert hung.value.console.endswith("CPU 0 runs the kernel")

    session.restore()

    assert session.request(b"abc") == b"abc"
    assert [guest.closed for guest in source.guests] == [True, False]
    assert session.restore_seconds is not None


def test_an_interrupted_request_breaks_the_session(session: Session) -> None:
    with pytest.raises(KeyboardInterrupt):
        session.request(b"interrupt")
    with pytest.raises(ProtocolError, match="interrupted"):
        session.request(b"abc")


def test_a_restore_that_fails_leaves_the_session_off(session: Session, source: MemorySource) -> None:
    session.start()
    source.failing = True

    with pytest.raises(BootFailure):
        session.restore()

    assert session.state is State.OFF


def test_a_session_that_is_off_has_no_hello(session: Session) -> None:
    with pytest.raises(ProtocolError, match="is off"):
        _ = session.hello


def spec(tmp_path: Path, **changes: object) -> MachineSpec:
    initramfs = tmp_path / "initramfs"
    initramfs.write_bytes(b"initramfs")
    values: dict[str, object] = {
        "emulator": Emulator(Path("/usr/bin/qemu"), "QEMU 7.2"),
        "kernel": tmp_path / "kernel",
        "initramfs": initramfs,
        "append": "quiet",
        "memory_mb": 128,
        "cpus": 1,
        "machine": "pc",
        "cpu": "qemu64",
        "accelerator": "tcg",
    }
    return MachineSpec(**{**values, **changes})  # type: ignore[arg-type]


def test_a_snapshot_belongs_to_contents_and_not_to_paths(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    one = snapshot_key(spec(tmp_path), "k")
    same = snapshot_key(spec(tmp_path / "elsewhere"), "k")
    others = [
        snapshot_key(spec(tmp_path), "other kernel"),
        snapshot_key(spec(tmp_path, append="loud"), "k"),
        snapshot_key(spec(tmp_path, memory_mb=64), "k"),
        snapshot_key(spec(tmp_path, accelerator="kvm"), "k"),
        snapshot_key(spec(tmp_path, icount="shift=0"), "k"),
        snapshot_key(spec(tmp_path, emulator=Emulator(Path("/usr/bin/qemu"), "QEMU 9")), "k"),
    ]

    assert one == same
    assert len({one, *others}) == 1 + len(others)


class FakeMachine:
    """Writes a state as QEMU would, or fails."""

    def __init__(self, state: bytes = b"state", error: Exception | None = None) -> None:
        self.state = state
        self.error = error

    def save_state(self, fd: int) -> None:
        if self.error:
            raise self.error
        os.write(fd, self.state)


def test_a_saved_snapshot_is_usable_until_it_is_discarded(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "x.state")

    before = snapshot.usable()
    snapshot.save(FakeMachine())  # type: ignore[arg-type]
    saved = snapshot.usable()
    snapshot.discard()

    assert (before, saved, snapshot.usable()) == (False, True, False)


def test_a_snapshot_knows_what_the_kernel_warned_of_at_boot(tmp_path: Path) -> None:
    warned = "WARNING: possible circular locking dependency detected"

    Snapshot(tmp_path / "x.state").save(FakeMachine(), [warned])  # type: ignore[arg-type]

    assert Snapshot(tmp_path / "x.state").warnings() == [warned]
    assert Snapshot(tmp_path / "none.state").warnings() == []


def test_a_snapshot_with_a_flipped_bit_is_not_used(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "x.state")
    snapshot.save(FakeMachine())  # type: ignore[arg-type]

    snapshot.path.write_bytes(b"stale")

    assert not snapshot.usable()


def test_a_snapshot_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "x.state")
    full = MonitorError("No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        snapshot.save(FakeMachine(error=full))  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == [] or [p.name for p in tmp_path.iterdir()] == ["cache"]


def test_few_snapshots_are_kept(tmp_path: Path) -> None:
    for number in range(snapshot_module.KEEP + 2):
        Snapshot(tmp_path / f"{number}.state").save(FakeMachine())  # type: ignore[arg-type]

    assert len(list(tmp_path.glob("*.state"))) == snapshot_module.KEEP


def works(_deadline_s: float) -> None:
    """A trial boot with KVM that succeeds."""


def fails(_deadline_s: float) -> None:
    raise BootFailure("the guest was not ready after 5 s")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.write_bytes(b"")
    return path


def test_kvm_is_believed_after_a_boot(device: Path) -> None:
    chosen = choose_accelerator("auto", icount=False, identity="x", trial=works, device=device)

    assert chosen == Accelerator("kvm", "a trial boot with KVM succeeded")


def test_kvm_that_does_not_boot_is_left_alone_and_that_is_remembered(device: Path) -> None:
    first = choose_accelerator("auto", icount=False, identity="x", trial=fails, device=device)
    second = choose_accelerator("auto", icount=False, identity="x", trial=works, device=device)
    other = choose_accelerator("auto", icount=False, identity="y", trial=works, device=device)

    assert (first.name, second, other.name) == ("tcg", first, "kvm")
    assert "not ready after 5 s" in first.reason


def test_without_a_device_there_is_no_trial(tmp_path: Path) -> None:
    chosen = choose_accelerator("auto", icount=False, identity="x", trial=works, device=tmp_path / "none")

    assert chosen.name == "tcg"
    assert "cannot be opened: No such file" in chosen.reason


def test_kvm_that_is_demanded_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="cannot be opened"):
        choose_accelerator("kvm", icount=False, identity="x", trial=works, device=tmp_path / "none")


def test_counted_instructions_need_emulation(device: Path) -> None:
    chosen = choose_accelerator("auto", icount=True, identity="x", trial=works, device=device)

    assert chosen.name == "tcg"


def test_a_remembered_answer_that_is_damaged_is_asked_again(device: Path, own_cache: Path) -> None:
    choose_accelerator("auto", icount=False, identity="x", trial=fails, device=device)
    for path in (own_cache / "accelerator").glob("*.json"):
        path.write_text("{}", encoding="utf-8")

    assert choose_accelerator("auto", icount=False, identity="x", trial=works, device=device).name == "kvm"


def test_a_missing_emulator_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolMissing, match=r"apt-get install .*qemu-system-x86"):
        find_emulator("x86_64")


@pytest.mark.parametrize(
    ("console", "log", "ports"),
    [
        ("ttyS0", "", "-serial chardev:console"),
        ("ttyS1", "ttyS0", "-serial chardev:log -serial chardev:console"),
        ("ttyS1", "", "-serial null -serial chardev:console"),
        ("hvc0", "ttyAMA0", "-serial chardev:log -device virtio-serial-pci -device virtconsole,chardev=console"),
        ("ttyS0", "debugcon", "-serial chardev:console -device isa-debugcon,iobase=0xe9,chardev=log"),
    ],
)
def test_console_and_log_are_where_the_definition_says(tmp_path: Path, console: str, log: str, ports: str) -> None:
    assert " ".join(spec(tmp_path, console=console, log=log).ports()) == ports


def test_a_kernel_with_its_initramfs_inside_is_handed_none(tmp_path: Path) -> None:
    inside = spec(tmp_path, initramfs=None, append="", qemu=("-device", "isa-debug-exit"))

    assert "-initrd" not in inside.arguments()
    assert "-append" not in inside.arguments()
    assert inside.arguments()[-2:] == ["-device", "isa-debug-exit"]
    assert snapshot_key(inside, "k") != snapshot_key(spec(tmp_path), "k")


def test_a_guest_of_another_architecture_is_emulated(tmp_path: Path) -> None:
    chosen = choose_accelerator("auto", icount=False, identity="x", trial=works, foreign="it is arm64", device=tmp_path)

    assert (chosen.name, chosen.reason) == ("tcg", "it is arm64")


def test_the_command_line_gives_the_guest_nothing_of_the_host(tmp_path: Path) -> None:
    arguments = spec(tmp_path, icount="shift=0,sleep=off").arguments()

    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(arguments)
    assert arguments[arguments.index("-nic") + 1] == "none"
    assert arguments[arguments.index("-icount") + 1] == "shift=0,sleep=off"
    assert not [word for word in arguments if word.startswith(("-drive", "-netdev", "-virtfs", "-fsdev"))]
