"""The real machine: QEMU with Debian's kernel. Skipped, with the reason, where they cannot be had."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BootFailure, GuestDied, PagepactError, RigError
from harness.guest.agent_build import build_agent
from harness.guest.definition import GuestDefinition, load_definition
from harness.guest.image import obtain_kernel
from harness.guest.live import PING
from harness.guest.machine import LaunchFailure, MachineKilled, find_emulator
from harness.guest.session import Session, State

EXIT_AT_ONCE = b"\xb8\x3c\x00\x00\x00\x0f\x05"  # mov $60, %eax; syscall
MOST_MEMORY = 250 * 1024 * 1024


def program(code: bytes) -> bytes:
    """Return a static ELF program of nothing but `code`."""
    entry = 0x400000 + 64 + 56
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01" + bytes(9), 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 64, 0, 0),
    )
    size = 64 + 56 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 4096) + code


@pytest.fixture(scope="module")
def kernel() -> Path:
    try:
        find_emulator("x86_64")
        return obtain_kernel(load_definition("linux")).path
    except RigError as error:
        pytest.skip(f"no machine to test: {error}")


@pytest.fixture(scope="module")
def agent() -> Path:
    try:
        return build_agent("x86_64")
    except RigError as error:
        pytest.skip(f"no agent to test: {error}")


@pytest.fixture(scope="module")
def definition(kernel: Path) -> GuestDefinition:
    return replace(load_definition("linux").with_kernel(kernel), accel="tcg")


@pytest.fixture
def session(definition: GuestDefinition, agent: Path) -> Iterator[Session]:
    with Session(definition, agent=agent) as session:
        yield session


def test_a_guest_answers_and_comes_back_from_its_snapshot(session: Session) -> None:
    first, pid = session.hello, session.pid

    session.restore()

    assert session.request(PING) == PING + first
    assert session.pid != pid
    assert session.notes == []
    assert session.kernel_version
    assert 0 < session.resident_bytes < MOST_MEMORY


def test_the_memory_of_a_guest_is_seen_from_outside(session: Session) -> None:
    ram = session.ram

    assert ram is not None
    assert b"Linux version " in bytes(ram.bytes)


def test_messages_go_through_the_memory_unless_the_definition_says_otherwise(
    session: Session, definition: GuestDefinition, agent: Path
) -> None:
    with Session(replace(definition, mailbox=False), agent=agent) as other:
        ways = [session.has_mailbox, other.has_mailbox]
        answers = [each.request(PING) for each in (session, other)]

    assert ways == [True, False]
    assert answers[0] == answers[1]


def test_a_host_without_shared_memory_has_a_guest_all_the_same(
    definition: GuestDefinition, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "memfd_create", _full_when_asked_for_ram(os.memfd_create))

    with Session(definition, agent=agent) as session:
        answer = session.request(PING)

    assert answer.startswith(PING)
    assert session.notes == [
        "the guest's memory cannot be seen from outside: the host gives no shared memory: No space left on device",
        "all messages go over the console: the host gives no shared memory: No space left on device",
    ]


def _full_when_asked_for_ram(create: Callable[[str], int]) -> Callable[[str], int]:
    def refuse(name: str) -> int:
        if name == "guest-ram":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(name)

    return refuse


@pytest.mark.parametrize(("blow", "error"), [(signal.SIGKILL, MachineKilled), (signal.SIGABRT, GuestDied)])
def test_a_machine_that_ends_is_trouble_of_the_guest_or_of_the_host_until_it_is_restored(
    session: Session, blow: signal.Signals, error: type[PagepactError]
) -> None:
    os.kill(session.pid, blow)

    for _ in range(2):
        with pytest.raises(error):
            session.request(PING)
    session.restore()

    assert session.request(PING).startswith(PING)


def test_a_kernel_that_panics_at_boot_is_a_boot_failure(definition: GuestDefinition, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_bytes(program(EXIT_AT_ONCE))
    session = Session(definition, agent=agent)

    with pytest.raises(BootFailure, match="Attempted to kill init") as caught:
        session.start()

    assert "Call Trace" in caught.value.console
    assert session.state is State.OFF


def test_a_boot_has_a_deadline(definition: GuestDefinition, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_bytes(program(b"\xeb\xfe"))
    session = Session(replace(definition, boot_timeout_s=0.3), agent=agent)

    with pytest.raises(BootFailure, match=r"not ready after 0\.3 s"):
        session.start()


def test_a_machine_that_qemu_refuses_is_a_launch_failure(definition: GuestDefinition, agent: Path) -> None:
    session = Session(replace(definition, cpu="no-such-cpu"), agent=agent)

    with pytest.raises(LaunchFailure, match="no-such-cpu") as caught:
        session.start()

    assert (caught.value.exit_code, caught.value.command[0][-6:]) == (1, "x86_64")


def test_a_damaged_snapshot_is_thrown_away(
    definition: GuestDefinition, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGEPACT_CACHE", str(tmp_path))
    with Session(definition, agent=agent) as first:
        hello = first.hello
    (state,) = tmp_path.glob("snapshots/*.state")
    cut = state.read_bytes()[: 1 << 20]
    state.unlink()
    state.write_bytes(cut)
    record = {"size": len(cut), "crc32": zlib.crc32(cut)}
    state.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")

    with Session(definition, agent=agent) as second:
        answer = second.request(PING)

    assert answer == PING + hello
    assert len(second.notes) == 1
    assert "damaged snapshot was thrown away" in second.notes[0]


def test_a_machine_does_not_outlive_a_harness_that_is_killed(definition: GuestDefinition, agent: Path) -> None:
    code = (
        "import sys, threading; from dataclasses import replace; from pathlib import Path\n"
        "from harness.guest.definition import load_definition\n"
        "from harness.guest.session import Session\n"
        "definition = load_definition('linux').with_kernel(Path(sys.argv[1]))\n"
        "session = Session(replace(definition, accel='tcg'), agent=Path(sys.argv[2]))\n"
        "starter = threading.Thread(target=session.start)\n"  # its end must not end the machine
        "starter.start(); starter.join()\n"
        "session.request(b'\\0'); print(session.pid, flush=True); sys.stdin.read()\n"
    )
    assert definition.kernel.path is not None
    harness = subprocess.Popen(
        [sys.executable, "-c", code, str(definition.kernel.path), str(agent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with harness:
        assert harness.stdout is not None
        machine = os.pidfd_open(int(harness.stdout.readline()))
        harness.kill()
        harness.wait()
        ended = _wait_end(machine, timeout_s=1.0)

    assert ended


def _wait_end(pidfd: int, *, timeout_s: float) -> bool:
    """Whether the process ends in time; its file descriptor becomes readable then."""
    ready, _, _ = select.select([pidfd], [], [], timeout_s)
    os.close(pidfd)
    return bool(ready)
