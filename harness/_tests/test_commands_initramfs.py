from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands.cli import run
from harness.errors import ToolMissing
from harness.guest.agent_build import find_compiler
from harness.guest.initramfs import archive_length


def test_the_agent_is_written_as_an_archive_of_the_size_that_is_wanted(tmp_path: Path) -> None:
    try:
        find_compiler("x86_64")
    except ToolMissing as error:
        pytest.skip(str(error))
    out = tmp_path / "agent.cpio"

    assert run(["initramfs", "-o", str(out), "--pad", "512K", "--init", "/bin/sh"]) == 0

    content = out.read_bytes()
    assert len(content) == archive_length(content) == 512 << 10
    assert b"bin/sh\0" in content


def test_a_size_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["initramfs", "-o", str(tmp_path / "x"), "--pad", "5X"]) == 2
    assert "'5X' is no size" in capsys.readouterr().err
