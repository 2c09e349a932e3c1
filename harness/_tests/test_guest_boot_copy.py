from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness._tests.test_guest_image import PVH, elf
from harness.errors import ImageError
from harness.guest.boot_copy import bootable
from harness.guest.image import KernelImage
from harness.guest.initramfs import Entry, archive, archive_length, build_initramfs, fitted, root_entries
from harness.guest.kernel_check import check_kernel_image, multiboot_header

MULTIBOOT = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFF_FFFF)
ARM64 = bytes(0x38) + b"ARM\x64" + bytes(8192)
REGULAR = 0o100644


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEPACT_CACHE", str(tmp_path / "cache"))


def kernel(folder: Path, content: bytes) -> KernelImage:
    path = folder / "kernel"
    path.write_bytes(content)
    return KernelImage(path, "0" * 64, None)


def machine_of(content: bytes) -> int:
    return int(struct.unpack_from("<H", content, 18)[0])


def test_a_multiboot_header_counts_only_with_its_checksum() -> None:
    assert multiboot_header(bytes(64) + MULTIBOOT) == (64, False)
    assert multiboot_header(MULTIBOOT[:8] + bytes(4) + MULTIBOOT) == (12, False)
    assert multiboot_header(b"x" + MULTIBOOT) is None
    assert multiboot_header(bytes(8192) + MULTIBOOT) is None


def test_an_elf64_multiboot_kernel_gets_a_copy_that_qemu_takes(tmp_path: Path) -> None:
    original = elf(note=MULTIBOOT)

    copy = bootable(kernel(tmp_path, original), load="auto")

    assert machine_of(copy.path.read_bytes()) == 3
    assert copy.path != tmp_path / "kernel"
    assert (tmp_path / "kernel").read_bytes() == original
    assert check_kernel_image(copy.path, "x86_64") is None


def test_a_kernel_with_both_entries_is_entered_by_its_note_unless_told_otherwise(tmp_path: Path) -> None:
    both = kernel(tmp_path, elf(note=PVH + MULTIBOOT))

    by_note = bootable(both, load="auto").path.read_bytes()
    by_header = bootable(both, load="multiboot").path.read_bytes()

    assert (machine_of(by_note), multiboot_header(by_note)) == (62, None)
    assert (machine_of(by_header), multiboot_header(by_header)) != (62, None)


def test_what_qemu_takes_as_it_is_stays_as_it_is(tmp_path: Path) -> None:
    image = kernel(tmp_path, elf(note=PVH))

    assert bootable(image, load="auto") is image


@pytest.mark.parametrize(("load", "what"), [("multiboot", "no multiboot header"), ("pvh", "no PVH note")])
def test_an_entry_that_is_not_there_is_said_so(tmp_path: Path, load: str, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        bootable(kernel(tmp_path, elf()), load=load)


def test_a_packed_arm64_image_is_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(ARM64)
    head = b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + bytes(8) + b"gzip\0"
    image = kernel(tmp_path, head.ljust(64, b"\0") + packed)

    assert check_kernel_image(image.path, "arm64") is None
    assert bootable(image, load="auto").path.read_bytes() == ARM64


def arm64_elf(*segments: tuple[int, bytes]) -> bytes:
    """An ELF file for arm64 whose segments (physical address, bytes) lie one after the other in it."""
    head = (
        b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    )
    at, table, data = 64 + 56 * len(segments), b"", b""
    for address, content in segments:
        size = len(content)
        table += struct.pack("<IIQQQQQQ", 1, 7, at + len(data), 0xFFFF_0000_0000_0000 + address, address, size, size, 8)
        data += content
    return head + table + data


def test_an_arm64_elf_file_with_an_images_header_is_laid_out_as_that_image(tmp_path: Path) -> None:
    image = kernel(tmp_path, arm64_elf((0x4008_3000, b"data"), (0x4008_0000, ARM64)))

    assert check_kernel_image(image.path, "arm64") is None
    assert bootable(image, load="auto").path.read_bytes() == ARM64.ljust(0x3000, b"\0") + b"data"


def test_an_arm64_elf_file_without_that_header_stays_as_it_is(tmp_path: Path) -> None:
    image = kernel(tmp_path, arm64_elf((0x4008_0000, bytes(8192))))

    assert bootable(image, load="auto") is image


def test_an_arm64_elf_file_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    image = kernel(tmp_path, arm64_elf((0, ARM64), (1 << 40, b"far away")))

    with pytest.raises(ImageError, match="is spread over 1048576 MiB of physical addresses"):
        bootable(image, load="auto")


@pytest.mark.parametrize(
    ("content", "arch", "complaint"),
    [
        (ARM64, "x86_64", "for arm64 machines, and the guest is x86_64"),
        (ARM64[:100], "arm64", "cut short"),
        (b"hello" * 30, "arm64", "neither an arm64 Image nor an ELF file"),
        (elf(note=PVH), "arm64", "is for EM_X86_64, and the guest needs EM_AARCH64"),
    ],
)
def test_an_image_for_another_architecture_is_refused(tmp_path: Path, content: bytes, arch: str, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        check_kernel_image(kernel(tmp_path, content).path, arch)


def test_an_archive_fills_the_length_that_it_is_given() -> None:
    small = archive(root_entries(b"agent"))

    filled = fitted(small, 8192)

    assert filled is not None
    assert (len(filled), archive_length(filled)) == (8192, 8192)
    assert b"padding\0" in filled
    assert fitted(small, archive_length(small)) == small[: archive_length(small)]
    assert fitted(small, 600) is None


def test_the_agent_lies_wherever_a_kernel_looks_for_it() -> None:
    names = [entry.name for entry in root_entries(b"agent", ("/sbin/init", "/bin/sh"))]

    assert {"init", "sbin", "sbin/init", "bin", "bin/sh"} <= set(names)
    assert names.index("sbin") < names.index("sbin/init")


def test_an_initramfs_inside_a_kernel_is_replaced(tmp_path: Path) -> None:
    inside = fitted(archive([Entry("init", REGULAR, b"old")]), 4096)
    assert inside is not None
    ours = archive([Entry("init", REGULAR, b"the new agent")])
    image = kernel(tmp_path, elf(note=PVH) + b"070701 is cpio's magic" + inside + b"what follows")

    patched = bootable(image, load="auto", initramfs=[ours]).path.read_bytes()

    assert len(patched) == image.path.stat().st_size
    assert patched.endswith(b"what follows")
    assert b"the new agent" in patched
    assert b"old" not in patched


@pytest.mark.parametrize(
    ("inside", "complaint"),
    [
        (b"", "there is no initramfs"),
        (archive([]) * 2, "there is 2 of them"),
        (archive([Entry("init", REGULAR, b"x")]), r"has \d+ bytes, and the agent's needs \d+.*--pad SIZE"),
    ],
)
def test_an_initramfs_that_cannot_be_replaced_is_said_so(tmp_path: Path, inside: bytes, complaint: str) -> None:
    ours = archive([Entry("init", REGULAR, b"x" * 1000)])

    with pytest.raises(ImageError, match=complaint):
        bootable(kernel(tmp_path, elf(note=PVH) + inside), load="auto", initramfs=[ours])


def test_a_pad_that_is_too_small_is_said_so(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_bytes(bytes(5000))

    with pytest.raises(ImageError, match=r"needs \d+ bytes, and cannot be filled up to 1024"):
        build_initramfs(agent, tmp_path / "out.cpio", length=1024)


def arm64_image(pages: int) -> bytes:
    """A flat Image whose header says how large its pages are: 1 for 4 KiB, 2 for 16, 3 for 64, 0 where it does not say."""
    return ARM64[:0x18] + struct.pack("<Q", 0b1000 | pages << 1) + ARM64[0x20:]


@pytest.mark.parametrize("form", [lambda image: image, gzip.compress, lambda image: arm64_elf((0x4008_0000, image))])
@pytest.mark.parametrize(("pages", "size"), [(2, "16"), (3, "64")])
def test_an_arm64_kernel_with_larger_pages_is_refused_before_it_boots(
    tmp_path: Path, pages: int, size: str, form: Callable[[bytes], bytes]
) -> None:
    image = kernel(tmp_path, form(arm64_image(pages)))

    with pytest.raises(ImageError, match=f"is for pages of {size} KiB, and programs are made of pages of 4 KiB"):
        bootable(image, load="auto")


@pytest.mark.parametrize("pages", [0, 1])
@pytest.mark.parametrize("form", [lambda image: image, gzip.compress])
def test_an_arm64_kernel_with_pages_of_4_kib_or_of_no_stated_size_is_taken(
    tmp_path: Path, pages: int, form: Callable[[bytes], bytes]
) -> None:
    image = kernel(tmp_path, form(arm64_image(pages)))

    assert bootable(image, load="auto") is image


def test_a_packed_arm64_image_that_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is packed, and damaged"):
        bootable(kernel(tmp_path, b"\x1f\x8b" + bytes(64)), load="auto")
