"""The teaching kernel's system calls, held to Linux's: one program that checks them boots on both, and prints the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.errors import RigError
from harness.guest.agent_build import find_compiler
from harness.guest.boot_copy import bootable
from harness.guest.definition import GuestDefinition, load_definition
from harness.guest.image import obtain_kernel
from harness.guest.initramfs import build_initramfs
from harness.guest.machine import find_emulator

SOURCES = Path(__file__).resolve().parents[2] / "fixtures" / "kernels" / "mini" / "selftest"
NAMES = re.findall(r"TEST\((\w+)\)[,}]", (SOURCES / "selftest.c").read_text(encoding="utf-8"))
CPUS = {"x86_64": "max", "arm64": "cortex-a57"}
BOOT_TIMEOUT_S = 60


def initramfs_for(arch: str, folder: Path) -> Path:
    command = ["make", "-C", str(SOURCES), f"OUT={folder}", f"ARCH={arch}", f"CC={find_compiler(arch)}"]
    subprocess.run(command, check=True, timeout=BOOT_TIMEOUT_S, capture_output=True)
    return build_initramfs(folder / f"selftest-{arch}", folder / "initramfs")


def said_until_power_off(guest: GuestDefinition, initramfs: Path) -> tuple[list[str], int]:
    """Boot the guest's kernel with the self-test as its first process; give what that says, and how QEMU ends."""
    kernel = bootable(obtain_kernel(guest), load="auto").path
    machine = [str(find_emulator(guest.arch).path), "-machine", guest.machine, "-cpu", CPUS[guest.arch], "-m", "128"]
    machine += ["-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"]
    image = ["-kernel", str(kernel), "-initrd", str(initramfs)]
    image += ["-append", f"console={guest.console},115200 quiet panic=-1"]
    done = subprocess.run(
        ["timeout", str(BOOT_TIMEOUT_S), *machine, *image],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    return re.findall(r"(?:ok|FAILED) \w+[^\r\n]*", text), done.returncode


@pytest.mark.parametrize("guest", ["mini", "linux", "mini-arm64", "linux-arm64"])
def test_the_kernel_passes_its_self_test_and_switches_off(guest: str, tmp_path: Path) -> None:
    definition = load_definition(guest)
    try:
        find_emulator(definition.arch)
        said, status = said_until_power_off(definition, initramfs_for(definition.arch, tmp_path))
    except RigError as error:
        pytest.skip(str(error))

    assert said == [f"ok {name}" for name in NAMES]
    assert status == 0
