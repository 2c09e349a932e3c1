from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from harness.errors import ImageError, StorageError
from harness.guest import image
from harness.guest.apt import Apt, private_sources
from harness.guest.cache import cache_folder, need_space, prune, sha256_of, write_atomically
from harness.guest.definition import GuestDefinition, load_definition
from harness.guest.image import obtain_kernel
from harness.guest.initramfs import build_initramfs
from harness.guest.kernel_check import check_kernel_image, check_program

VERSION = b"6.1.0-fake (me@here) #1 SMP"


def bzimage(*, magic: bytes = b"HdrS", flags: int = 1, body: int = 4096) -> bytes:
    """Return a file with the header of a bzImage, and as many bytes as that promises."""
    head = bytearray(5 * 512)
    head[0x1F1] = 4
    struct.pack_into("<I", head, 0x1F4, body // 16)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = magic
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x300)
    struct.pack_into("<H", head, 0x236, flags)
    head[0x500 : 0x500 + len(VERSION)] = VERSION
    return bytes(head) + bytes(body)


def elf(machine: int = 62, *, kind: int = 1, cut: int = 0, note: bytes = b"") -> bytes:
    """Return an ELF64 file with one segment of the kind PT_LOAD (1) or PT_INTERP (3), and a note."""
    content = b"\x90" * 64
    notes = 1 if note else 0
    first = 64 + 56 * (1 + notes)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(
            b"\x7fELF\x02\x01\x01" + bytes(9),
            2,
            machine,
            1,
            0x1000,
            64,
            0,
            0,
            64,
            56,
            1 + notes,
            64,
            0,
            0,
        ),
    )
    segments = struct.pack("<IIQQQQQQ", kind, 5, first, 0x1000, 0x1000, 64, 64, 16)
    if note:
        segments += struct.pack("<IIQQQQQQ", 4, 4, first + 64, 0, 0, len(note), len(note), 4)
    whole = header + segments + content + note
    return whole[: len(whole) - cut]


PVH = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x1000)


def put(folder: Path, content: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEPACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_bzimage_says_its_version(tmp_path: Path) -> None:
    assert check_kernel_image(put(tmp_path, bzimage()), "x86_64") == VERSION.decode()


def test_an_elf_kernel_with_an_entry_for_qemu_is_accepted(tmp_path: Path) -> None:
    assert check_kernel_image(put(tmp_path, elf(note=PVH)), "x86_64") is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"hello", "too short"),
        (b"#!/bin/sh\n" * 1000, "neither a bzImage nor an ELF file"),
        (bzimage(magic=b"XXXX"), "is no kernel"),
        (bzimage()[:-1], "is cut short: 6655 bytes of 6656"),
        (bzimage(flags=0), "32-bit"),
        (elf(machine=183, note=PVH), "is for EM_AARCH64, and the guest needs EM_X86_64"),
        (elf(kind=3), "nothing in it"),
        (elf(note=PVH, cut=10), "cut short|damaged"),
        (elf(), "neither a PVH note nor a multiboot header"),
        (elf()[:40], "damaged ELF file"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        check_kernel_image(put(tmp_path, content), "x86_64")


def test_a_kernel_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        check_kernel_image(tmp_path / "gone", "x86_64")
    with pytest.raises(ImageError, match="is no file"):
        check_kernel_image(tmp_path, "x86_64")


def test_an_agent_must_be_a_program(tmp_path: Path) -> None:
    check_program(put(tmp_path, elf()), "x86_64")

    with pytest.raises(ImageError, match="is not there"):
        check_program(tmp_path / "gone", "x86_64")
    with pytest.raises(ImageError, match="damaged ELF"):
        check_program(put(tmp_path, b"text"), "x86_64")


def test_a_kernel_file_is_described(tmp_path: Path) -> None:
    path = put(tmp_path, bzimage())

    kernel = obtain_kernel(load_definition("linux").with_kernel(path))

    assert (kernel.path, kernel.sha256, kernel.version) == (path, sha256_of(path), VERSION.decode())


def fetched(own_cache: Path, definition: GuestDefinition, content: bytes) -> Path:
    folder = own_cache / "kernels" / definition.kernel.suite / definition.kernel.package
    folder.mkdir(parents=True)
    path = folder / "vmlinuz-1"
    path.write_bytes(content)
    record = {"image": path.name, "sha256": sha256_of(path)}
    (folder / "kernel.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def test_a_kernel_is_fetched_once(own_cache: Path) -> None:
    definition = load_definition("linux")
    path = fetched(own_cache, definition, bzimage())
    if shutil.which("apt-get") is None:
        pytest.skip("without apt-get the host's own kernel is used")

    assert obtain_kernel(definition).path == path


def test_a_kernel_that_changed_in_the_cache_is_not_used(own_cache: Path) -> None:
    definition = load_definition("linux")
    path = fetched(own_cache, definition, bzimage())
    path.write_bytes(bzimage()[:-1] + b"!")

    assert image._cached(path.parent, definition) is None


def test_without_apt_the_hosts_own_kernel_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "vmlinuz-broken").write_bytes(b"no kernel")
    (boot / "vmlinuz-good").write_bytes(bzimage())
    monkeypatch.setattr(image, "BOOT", boot)
    monkeypatch.setenv("PATH", str(tmp_path))

    kernel = obtain_kernel(load_definition("linux"))

    assert kernel.path == boot / "vmlinuz-good"
    assert "this machine's own" in kernel.note


def test_without_any_kernel_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "BOOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ImageError, match=r"apt-get is not here.*--kernel IMAGE"):
        obtain_kernel(load_definition("linux"))


def test_a_machine_without_mirrors_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no Debian mirror"):
        private_sources(tmp_path, "bookworm", "bookworm")


def sources(folder: Path, name: str, text: str) -> None:
    (folder / "sources.list.d").mkdir(exist_ok=True)
    (folder / "sources.list.d" / name).write_text(text, encoding="utf-8")


DEB822 = """\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie

Types: deb
URIs: http://other.example/tool
Suites: nodistro
Components: main
"""


def test_a_suite_of_the_machine_is_used_as_it_is(tmp_path: Path) -> None:
    sources(tmp_path, "debian.sources", DEB822)

    chosen = private_sources(tmp_path, "trixie", "trixie")

    assert list(chosen) == ["debian.sources"]
    assert "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n" in chosen["debian.sources"]
    assert "Signed-By" in chosen["debian.sources"]
    assert chosen["debian.sources"].endswith("\nTargets: Packages\n")
    assert "off.example" not in chosen["debian.sources"]
    assert "other.example" not in chosen["debian.sources"]


def test_another_suite_is_asked_of_the_machines_mirrors(tmp_path: Path) -> None:
    sources(tmp_path, "debian.sources", DEB822)

    chosen = private_sources(tmp_path, "bookworm", "trixie")

    assert "Suites: bookworm bookworm-updates\n" in chosen["debian.sources"]


def test_sources_in_lines_serve_too(tmp_path: Path) -> None:
    text = (
        "# deb http://old.example/debian trixie main\n"
        "deb [signed-by=/k.gpg arch=amd64] http://m.example/debian trixie main\n"
        "deb http://m.example/security trixie-security main\n"
        "deb-src http://m.example/debian trixie main\n"
        "deb http://other.example trixiefoo main\n"
    )
    (tmp_path / "sources.list").write_text(text, encoding="utf-8")

    chosen = private_sources(tmp_path, "bookworm", "trixie")

    assert chosen == {
        "sources.list": (
            "deb [signed-by=/k.gpg arch=amd64 target=Packages] http://m.example/debian bookworm main\n"
            "deb [target=Packages] http://m.example/security bookworm-security main\n"
        )
    }


def test_a_package_that_no_mirror_has_is_said_so(tmp_path: Path) -> None:
    if shutil.which("apt-cache") is None:
        pytest.skip("apt-cache is not installed")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "sources.list").write_text("deb file:/nowhere bookworm main\n", encoding="utf-8")
    apt = Apt(tmp_path / "work", "bookworm", architecture="amd64", sources=tmp_path / "etc")

    with pytest.raises(ImageError, match="linux-image-none is not on the mirrors"):
        apt.versions("linux-image-none")


def members(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Read a newc archive: name to mode, content and device."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + numbers[11] - 1].decode()
        data = (at + 110 + numbers[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (numbers[1], archive[data : data + numbers[6]], (numbers[9], numbers[10]))
        at = (data + numbers[6] + 3) & ~3


def test_an_initramfs_holds_the_agent_and_the_devices(tmp_path: Path) -> None:
    archive = build_initramfs(put(tmp_path, b"agent!!"), tmp_path / "out.cpio").read_bytes()

    found = members(archive)

    assert list(found) == [
        "dev",
        "dev/console",
        "dev/hvc0",
        "dev/null",
        "dev/ttyAMA0",
        "dev/ttyS0",
        "init",
        "no-program",
        "proc",
        "sys",
        "tmp",
    ]
    assert found["init"] == (0o100755, b"agent!!", (0, 0))
    assert found["dev/console"] == (0o020600, b"", (5, 1))
    assert found["dev/ttyS0"] == (0o020600, b"", (4, 64))
    assert found["dev/null"] == (0o020666, b"", (1, 3))


def test_an_initramfs_is_the_same_every_time(tmp_path: Path) -> None:
    agent = put(tmp_path, b"agent")

    first = build_initramfs(agent, tmp_path / "one.cpio").read_bytes()
    second = build_initramfs(agent, tmp_path / "two.cpio").read_bytes()

    assert first == second


def test_a_full_disk_is_a_storage_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is not here")

    with pytest.raises(StorageError, match="cannot be written"):
        write_atomically(full / "x", b"data")


def test_a_cache_that_cannot_be_made_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("PAGEPACT_CACHE", str(tmp_path / "file"))

    with pytest.raises(StorageError, match=r"set PAGEPACT_CACHE"):
        cache_folder("kernels")


def test_space_is_asked_for_before_it_is_needed(tmp_path: Path) -> None:
    need_space(tmp_path, 0, "nothing")

    with pytest.raises(StorageError, match="a universe needs 1099511627776 MiB in"):
        need_space(tmp_path, 1 << 40, "a universe")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()

    with pytest.raises(StorageError):
        write_atomically(tmp_path / "target", b"x")

    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["target"]


def test_the_oldest_files_are_pruned_with_their_companions(tmp_path: Path) -> None:
    for number in range(4):
        for ending in (".state", ".json"):
            path = tmp_path / f"{number}{ending}"
            path.write_text("x", encoding="utf-8")
            os.utime(path, (number, number))

    prune(tmp_path, "*.state", keep=2, companions=(".json",))

    assert sorted(path.name for path in tmp_path.glob("?.*")) == [
        "2.json",
        "2.state",
        "3.json",
        "3.state",
    ]


def test_what_another_run_used_lately_is_not_pruned(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.cpio").write_text("x", encoding="utf-8")

    prune(tmp_path, "*.cpio", keep=1, spare_s=60)

    assert len(list(tmp_path.iterdir())) == 3
