"""The teaching kernel's system calls, held to Linux's: one program that checks them boots on both, and prints the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import RigError
from harness.guest.agent_build import find_compiler
from harness.guest.definition import load_definition
from harness.guest.image import obtain_kernel
from harness.guest.initramfs import build_initramfs

SOURCES = Path(__file__).resolve().parents[2] / "fixtures" / "kernels" / "mini" / "selftest"
NAMES = re.findall(r"TEST\((\w+)\)[,}]", (SOURCES / "selftest.c").read_text(encoding="utf-8"))
EMULATOR = "qemu-system-x86_64"
BOOT_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(EMULATOR) is None:
        pytest.skip("QEMU is not installed")
    folder = tmp_path_factory.mktemp("selftest")
    command = ["make", "-C", str(SOURCES), f"OUT={folder}", f"CC={find_compiler('x86_64')}"]
    subprocess.run(command, check=True, timeout=BOOT_TIMEOUT_S, capture_output=True)
    return build_initramfs(folder / "selftest-x86_64", folder / "initramfs")


def printed_lines(kernel: Path, initramfs: Path) -> list[str]:
    """Boot `kernel` with the self-test as its first process, and return what that says."""
    machine = [EMULATOR, "-nodefaults", "-nographic", "-no-reboot", "-m", "128", "-cpu", "max", "-serial", "stdio"]
    image = ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", "console=ttyS0,115200 quiet panic=-1"]
    lines: list[str] = []
    with subprocess.Popen(
        ["timeout", str(BOOT_TIMEOUT_S), *machine, *image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace").strip()
            lines += re.findall(r"(?:ok|FAILED) \w+.*", text)
            if "end of the self-test" in text:
                break
        process.terminate()
    return lines


@pytest.mark.parametrize("guest", ["mini", "linux"])
def test_the_kernel_passes_its_self_test(guest: str, initramfs: Path) -> None:
    try:
        kernel = obtain_kernel(load_definition(guest)).path
    except RigError as error:
        pytest.skip(str(error))

    assert printed_lines(kernel, initramfs) == [f"ok {name}" for name in NAMES]
