"""Kernels that do not come up: tiny ones, a few lines of assembly each: no hang, one sentence, evidence."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from harness.commands.cli import CONSOLE_LINES, run
from harness.errors import BootFailure, DefinitionError, GuestTrouble, ImageError, PagepactError
from harness.guest.frames import encode_message
from harness.guest.machine import LaunchFailure
from harness.guests import open_subject
from harness.report.known import load_known

README = Path(__file__).resolve().parents[2] / "README.md"

KERNEL = """
    .section .text
    .long 0x1badb002, 0, -0x1badb002
    .globl _start
_start:
    mov $text, %esi
1:  lodsb
    test %al, %al
    jz 2f
    mov $0x3f8, %dx
    outb %al, %dx
    jmp 1b
2:  {ending}
3:  hlt
    jmp 3b
text:
    .byte {text}
"""
REBOOT = "mov $0xfe, %al; outb %al, $0x64"
EXIT_17 = "mov $17, %al; outb %al, $0xf4"  # isa-debug-exit: QEMU's exit status is 2 × 17 + 1
AGAIN = "jmp _start"
DEFINITION = """
name = "fake"
kind = "qemu"
title = "a fake kernel"
semantics = "any-kernel"
memory_mb = 32
accel = "tcg"
append = ""
init_by = "path"
boot_timeout_s = {seconds}
answer_timeout_s = 1.5
mailbox = false
qemu = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
poweroff_status = {poweroff}
[kernel]
source = "file"
path = "kernel"
"""
HELLO = encode_message("<", 0, b"pagepact 1 x86_64\n")[0]


def open_fake(folder: Path, text: bytes, ending: str = "", *, poweroff: int = 0, seconds: float = 2) -> PagepactError:
    if shutil.which("gcc") is None or shutil.which("qemu-system-x86_64") is None:
        pytest.skip("gcc or QEMU is not installed")
    source = folder / "kernel.S"
    source.write_text(KERNEL.format(ending=ending, text=", ".join(str(byte) for byte in [*text, 0])), encoding="utf-8")
    flags = ["-m32", "-nostdlib", "-static", "-Wl,-Ttext=0x100000", "-Wl,--build-id=none"]
    subprocess.run(["gcc", *flags, "-o", str(folder / "kernel"), str(source)], check=True, capture_output=True)
    definition = folder / "fake.toml"
    definition.write_text(DEFINITION.format(seconds=seconds, poweroff=poweroff), encoding="utf-8")
    with pytest.raises(PagepactError) as caught, closing(open_subject(str(definition))):
        pass
    return caught.value


@pytest.mark.parametrize(
    ("text", "ending", "complaint"),
    [
        (b"", "", "the guest was not ready after 2 s; it printed nothing"),
        (b"booting\nno init found\n", "", "the guest was not ready after 2 s; its last words were: no init found"),
        (b"flood " * 100 + b"\n", AGAIN, "the guest was not ready after 2 s; its last words were: flood flood"),
        (b"\x01\xff\x80@<zzzz\r\r@>@!\n", AGAIN, "the guest was not ready after 2 s"),
        (
            b"hello\n",
            REBOOT,
            "the machine powered off or rebooted by itself before it was ready; its last words were: hello",
        ),
        (b"bad\n", EXIT_17, "the machine ended itself with exit status 35 before it was ready; its last words were: bad"),
        (b"Kernel panic - not syncing\n", "", "the kernel broke while it booted: Kernel panic - not syncing"),
    ],
)
def test_a_kernel_that_does_not_come_up_is_said_so(tmp_path: Path, text: bytes, ending: str, complaint: str) -> None:
    error = open_fake(tmp_path, text, ending)

    assert isinstance(error, BootFailure)
    assert str(error).startswith(complaint)
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    assert bool(error.console) == bool(text)


def test_where_the_cpu_is_tells_a_kernel_that_waits_from_one_that_loops(tmp_path: Path) -> None:
    waits, loops = open_fake(tmp_path, b"x\n"), open_fake(tmp_path, b"x\n", "4: jmp 4b")

    assert re.search(r"; CPU 0 waits for an interrupt, at 0x1000[0-9a-f]+ \(_start\+0x[0-9a-f]+\) ", str(waits))
    assert re.search(r"; CPU 0 runs the kernel, at 0x1000[0-9a-f]+ \(_start\+0x[0-9a-f]+\) ", str(loops))


def test_who_asks_for_it_sees_what_ready_means_and_of_a_flood_no_more_than_a_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_fake(tmp_path, b"flood " * 100 + b"\n", AGAIN, seconds=1)

    status = run(["guests", "--probe", str(tmp_path / "fake.toml")])

    err = capsys.readouterr().err.splitlines()
    assert status == 2
    assert "(it is ready when PID 1, the agent in its initramfs, says hello on ttyS0; boot_timeout_s " in err[0]
    assert len(err) <= 1 + CONSOLE_LINES
    assert max(map(len, err[1:])) <= 100


def test_a_machine_that_qemu_does_not_know_is_said_in_qemus_words(tmp_path: Path) -> None:
    open_fake(tmp_path, b"x\n", seconds=1)
    path = tmp_path / "fake.toml"
    text = path.read_text(encoding="utf-8").replace("[kernel]", 'machine = "nonesuch"\n[kernel]')
    path.write_text(text, encoding="utf-8")

    with pytest.raises(LaunchFailure, match="unsupported machine type"):
        open_subject(str(path))


def test_a_file_of_known_divergences_that_is_not_there_is_said_before_the_guest_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    text = DEFINITION.format(seconds=2, poweroff=0).replace("[kernel]", 'known_divergences = "none.toml"\n[kernel]')
    path.write_text(text, encoding="utf-8")

    status = run(["guests", "--probe", str(path)])

    assert status == 2
    assert "none.toml: the known divergences cannot be read" in capsys.readouterr().err


def test_a_power_off_is_told_by_its_exit_status(tmp_path: Path) -> None:
    error = open_fake(tmp_path, b"bye\n", EXIT_17, poweroff=35)

    assert str(error).startswith("the machine powered off or rebooted by itself before it was ready")


@pytest.mark.parametrize("text", [HELLO, HELLO * 2, HELLO + b"@<0001.000.001.00000000.AAAA\n" * 9])
def test_a_kernel_that_is_ready_and_then_makes_no_sense_is_trouble_in_time(tmp_path: Path, text: bytes) -> None:
    error = open_fake(tmp_path, text)

    assert isinstance(error, GuestTrouble) or "damaged" in str(error)
    assert "\n" not in str(error)


def test_an_image_for_another_architecture_is_refused_before_it_is_started(tmp_path: Path) -> None:
    image = tmp_path / "Image"
    image.write_bytes(bytes(0x38) + b"ARM\x64" + bytes(8192))

    with pytest.raises(ImageError, match="for arm64 machines, and the guest is x86_64"):
        open_subject("custom", kernel=image)


def blocks() -> list[str]:
    return [part.partition("```")[0] for part in README.read_text(encoding="utf-8").split("```toml\n")[1:]]


def test_the_definition_in_the_readme_is_one(tmp_path: Path) -> None:
    (example,) = [block for block in blocks() if "[kernel]" in block]
    path = tmp_path / "mine.toml"
    path.write_text(example, encoding="utf-8")
    (tmp_path / "known.toml").write_text(next(each for each in blocks() if "[[divergence]]" in each), encoding="utf-8")

    with pytest.raises(ImageError, match=r"build/kernel\.elf cannot be read"):
        open_subject(str(path))
    assert load_known(tmp_path / "known.toml")[0].contract == "wait.status"

    path.write_text(example + "budget = 3\n", encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"'quiescence\.budget' is no key"):
        open_subject(str(path))
