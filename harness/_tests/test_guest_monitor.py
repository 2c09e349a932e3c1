from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.guest.monitor import Monitor, MonitorError

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}
Answer = Callable[[dict[str, object]], list[object]]


@contextmanager
def fake_qemu(answer: Answer, *, greeting: object = GREETING) -> Iterator[tuple[socket.socket, list[int]]]:
    """Serve QMP on a socket: `answer` gives the messages that follow a command."""
    near, far = socket.socketpair()
    received: list[int] = []

    def serve() -> None:
        far.sendall(json.dumps(greeting).encode() + b"\r\n")
        while True:
            data, fds, _, _ = socket.recv_fds(far, 65536, 4)
            received.extend(fds)
            if not data:
                return
            for line in data.strip().splitlines():
                messages = answer(json.loads(line)) if line.strip() else []
                far.sendall(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield near, received
    finally:
        near.close()
        server.join()
        far.close()


def echo(command: dict[str, object]) -> list[object]:
    return [{"event": "RESUME", "timestamp": {}}, {"return": command.get("arguments")}]


def test_a_command_gets_its_answer_and_not_an_event() -> None:
    with fake_qemu(echo) as (near, _):
        assert Monitor(near).command("echo", word="x") == {"word": "x"}


def test_a_refusal_has_qemus_own_words() -> None:
    def refuse(command: dict[str, object]) -> list[object]:
        if command["execute"] == "qmp_capabilities":
            return [{"return": {}}]
        return [{"error": {"class": "GenericError", "desc": "No such thing"}}]

    with fake_qemu(refuse) as (near, _), pytest.raises(MonitorError, match="No such thing"):
        Monitor(near).command("frob")


def test_a_file_descriptor_is_handed_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("content", encoding="utf-8")
    with fake_qemu(echo) as (near, received), (tmp_path / "x").open("rb") as file:
        Monitor(near).give_fd("snapshot", file.fileno())

        content = os.read(received[0], 100)
        os.close(received[0])

    assert content == b"content"


def test_a_qemu_that_went_away_is_no_crash() -> None:
    near, far = socket.socketpair()
    far.close()

    with pytest.raises(MonitorError, match="closed its monitor"):
        Monitor(near)

    near.close()


@pytest.mark.parametrize("greeting", [{"hello": 1}, [1, 2], {"QMP": 3}])
def test_something_else_than_qemu_is_noticed(greeting: object) -> None:
    with fake_qemu(echo, greeting=greeting) as (near, _), pytest.raises(MonitorError):
        Monitor(near)
