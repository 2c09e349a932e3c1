r"""Is this file a kernel that QEMU can boot, of what kind, and which?

A bzImage carries its own length, so a download or copy that was cut short is found before a boot that
would only hang. Picture of what is read (offsets in the file)::

    bzImage   0x1f1 setup_sects   0x1f4 syssize   0x1fe 0xaa55   0x202 "HdrS"   0x206 version
              0x20e kernel_version (+0x200: the version text)   0x236 xloadflags (bit 0: has a 64-bit entry)
    Image     0x38 "ARM\x64"  (arm64, flat)   0x18 flags (bits 1 and 2: its pages, 1 for 4 KiB, 2 for 16 KiB, 3 for 64 KiB)
    zboot     0x00 "MZ"  0x04 "zimg"  0x08 offset and size of the packed Image  0x18 how it is packed
    ELF       a PVH note, or a multiboot header in its first 8 KiB

Source: Linux Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst,
drivers/firmware/efi/libstub/zboot-header.S; the multiboot specification, 3.1.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ImageError

_HEADER_END = 0x250
_PROTOCOL_WITH_XLOADFLAGS = 0x20C
_ELF_MACHINES = {"x86_64": ("EM_X86_64",), "arm64": ("EM_AARCH64",)}
_PVH_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY
_MULTIBOOT = struct.pack("<I", 0x1BADB002)
_MULTIBOOT_WITHIN = 8192  # bytes from the start of the file, so the multiboot specification
_MULTIBOOT_HAS_ADDRESSES = 1 << 16
_GZIP = b"\x1f\x8b"  # QEMU unpacks an arm64 Image that is packed so
_LARGER_PAGES_KIB = {2: 16, 3: 64}


def check_kernel_image(path: Path, arch: str) -> str | None:
    """Return the version text of the kernel image `path`, None where it carries none.

    Raises ImageError, one sentence, where the file is missing, empty, cut short, no kernel, or a kernel
    for another architecture.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ImageError(f"the kernel image {path} is no file")
        with path.open("rb") as file:
            head = file.read(_HEADER_END)
    except OSError as error:
        raise ImageError(f"the kernel image {path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise ImageError(f"the kernel image {path} is empty")
    if head.startswith(b"\x7fELF"):
        _check_kernel_elf(path, arch)
        return None
    if arch == "arm64":
        _check_arm64_image(path, size, head)
        return None
    return _check_bzimage(path, size, head)


def _check_bzimage(path: Path, size: int, head: bytes) -> str | None:
    if is_arm64_image(head) or is_zboot(head):
        raise ImageError(f"the kernel image {path} is for arm64 machines, and the guest is x86_64")
    if len(head) < _HEADER_END:
        raise ImageError(f"{path} is no kernel: with {size} bytes it is too short for one")
    if not is_bzimage(head):
        raise ImageError(f"{path} is no kernel: neither a bzImage nor an ELF file")
    setup_sectors = head[0x1F1] or 4
    (paragraphs,) = struct.unpack_from("<I", head, 0x1F4)
    expected = (setup_sectors + 1) * 512 + paragraphs * 16
    if size < expected:
        raise ImageError(f"the kernel image {path} is cut short: {size} bytes of {expected}")
    version, flags = struct.unpack_from("<H", head, 0x206)[0], struct.unpack_from("<H", head, 0x236)[0]
    if version < _PROTOCOL_WITH_XLOADFLAGS or not flags & 1:
        raise ImageError(f"the kernel image {path} is for 32-bit machines, and the guest is x86_64")
    return _version_text(path, head)


def _check_arm64_image(path: Path, size: int, head: bytes) -> None:
    if is_bzimage(head):
        raise ImageError(f"the kernel image {path} is for x86 machines, and the guest is arm64")
    if not (is_arm64_image(head) or is_zboot(head) or head.startswith(_GZIP)):
        raise ImageError(f"{path} is no kernel: neither an arm64 Image nor an ELF file")
    if is_arm64_image(head) and size < 4096:
        raise ImageError(f"the kernel image {path} is cut short: {size} bytes")


def check_page_size(content: bytes, path: Path) -> None:
    """Raise ImageError where `content`, which QEMU is to boot, is an arm64 Image of a kernel with larger pages than ours.

    Such a kernel cannot load the agent, whose segments lie side by side in pages of 4 KiB, and would only panic.
    """
    try:
        head = zlib.decompressobj(wbits=31).decompress(content, 64) if content.startswith(_GZIP) else content[:64]
    except zlib.error as error:
        raise ImageError(f"the kernel image {path} is packed, and damaged: {error}") from error
    if not is_arm64_image(head):
        return
    (flags,) = struct.unpack_from("<Q", head, 0x18)
    kib = _LARGER_PAGES_KIB.get(flags >> 1 & 3)
    if kib is not None:
        raise ImageError(
            f"the kernel image {path} is for pages of {kib} KiB, and programs are made of pages of 4 KiB; "
            "build it with CONFIG_ARM64_4K_PAGES"
        )


def is_bzimage(head: bytes) -> bool:
    """Tell whether a file that begins with `head` (592 bytes) is an x86 bzImage."""
    return head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS"


def is_arm64_image(head: bytes | bytearray) -> bool:
    """Tell whether a file that begins with `head` (60 bytes) is a flat arm64 Image."""
    return head[0x38:0x3C] == b"ARM\x64"


def is_zboot(head: bytes) -> bool:
    """Tell whether a file that begins with `head` (8 bytes) is a packed Image that unpacks itself under EFI."""
    return head.startswith(b"MZ") and head[4:8] == b"zimg"


def _version_text(path: Path, head: bytes) -> str | None:
    (at,) = struct.unpack_from("<H", head, 0x20E)
    if not at:
        return None
    with path.open("rb") as file:
        file.seek(at + 0x200)
        text = file.read(256).partition(b"\0")[0]
    return text.decode("ascii", "replace").strip() or None


def _check_kernel_elf(path: Path, arch: str) -> None:
    what = f"the kernel image {path}"
    with path.open("rb") as file:
        multiboot = multiboot_header(file.read(_MULTIBOOT_WITHIN)) is not None
    also = ("EM_386",) if multiboot and arch == "x86_64" else ()  # multiboot enters in 32-bit mode
    segments = _check_elf(path, what, (*_ELF_MACHINES[arch], *also))
    if arch == "x86_64" and not multiboot and not _has_pvh_note(segments):
        raise ImageError(f"{what} is no kernel that QEMU can boot: it has neither a PVH note nor a multiboot header")


def multiboot_header(head: bytes) -> tuple[int, bool] | None:
    """Find the multiboot header in the first bytes of a file.

    Returns its offset, and whether it says where the image goes (QEMU then looks at no ELF header); None without one.
    """
    head = head[:_MULTIBOOT_WITHIN]
    at = head.find(_MULTIBOOT)
    while at >= 0:
        if at % 4 == 0 and at + 12 <= len(head):
            magic, flags, checksum = struct.unpack_from("<III", head, at)
            if (magic + flags + checksum) & 0xFFFF_FFFF == 0:
                return at, bool(flags & _MULTIBOOT_HAS_ADDRESSES)
        at = head.find(_MULTIBOOT, at + 1)
    return None


def has_pvh_note(content: bytes) -> bool:
    """Tell whether an ELF file has a note with the address where QEMU may enter it."""
    try:
        return _has_pvh_note(ELFFile(io.BytesIO(content)).iter_segments())
    except (ELFError, struct.error, KeyError, ValueError):
        return False


def _has_pvh_note(segments: Iterable[Any]) -> bool:
    return any(_is_pvh(note) for segment in segments for note in _notes(segment))


def _notes(segment: Any) -> Iterable[Mapping[str, Any]]:
    return segment.iter_notes() if segment["p_type"] == "PT_NOTE" else ()


def _is_pvh(note: Mapping[str, Any]) -> bool:
    return bool(note["n_name"] == "Xen" and note["n_type"] in (_PVH_ENTRY, "XEN_ELFNOTE_PHYS32_ENTRY"))


def _check_elf(path: Path, what: str, machines: tuple[str, ...]) -> list[Any]:
    """Return the segments of a static ELF file; ImageError, about `what`, where it is none, or cut."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            elf = ELFFile(io.BytesIO(file.read()))
        machine = elf["e_machine"]
        segments = list(elf.iter_segments())
    except (ELFError, OSError, struct.error, KeyError, ValueError) as error:
        raise ImageError(f"{what} is a damaged ELF file") from error
    if machine not in machines:
        raise ImageError(f"{what} is for {machine}, and the guest needs {' or '.join(machines)}")
    if not any(segment["p_type"] == "PT_LOAD" for segment in segments):
        raise ImageError(f"{what} has nothing in it that could be loaded")
    if any(segment["p_type"] == "PT_INTERP" for segment in segments):
        raise ImageError(f"{what} is an ordinary, dynamically linked program")
    end = max(segment["p_offset"] + segment["p_filesz"] for segment in segments)
    if size < end:
        raise ImageError(f"{what} is cut short: {size} bytes of at least {end}")
    return segments


def check_program(path: Path, arch: str) -> None:
    """Raise ImageError where `path` is no static ELF program for `arch`, as the agent must be."""
    if not path.is_file():
        raise ImageError(f"the agent {path} is not there")
    _check_elf(path, f"the agent {path}", _ELF_MACHINES[arch])
