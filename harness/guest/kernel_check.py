"""Is this file a kernel that QEMU can boot, and which?

A bzImage carries its own length, so a download or copy that was cut short is found before a boot that
would only hang. Picture of what is read (offsets in the file)::

    0x1f1 setup_sects   0x1f4 syssize   0x1fe 0xaa55   0x202 "HdrS"   0x206 version
    0x20e kernel_version (+0x200: the version text)   0x236 xloadflags (bit 0: has a 64-bit entry)

Source: Linux Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import ImageError

_HEADER_END = 0x250
_PROTOCOL_WITH_XLOADFLAGS = 0x20C
_ELF_MACHINES = {"x86_64": ("EM_X86_64",)}
_PVH_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY
_MULTIBOOT = struct.pack("<I", 0x1BADB002)
_MULTIBOOT_WITHIN = 8192  # bytes from the start of the file, so the multiboot specification


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
    return _check_bzimage(path, size, head)


def _check_bzimage(path: Path, size: int, head: bytes) -> str | None:
    if len(head) < _HEADER_END:
        raise ImageError(f"{path} is no kernel: with {size} bytes it is too short for one")
    if head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
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
        multiboot = _MULTIBOOT in file.read(_MULTIBOOT_WITHIN)
    also = ("EM_386",) if multiboot else ()  # QEMU takes multiboot kernels as 32-bit files only
    segments = _check_elf(path, what, (*_ELF_MACHINES[arch], *also))
    if not multiboot and not any(_is_pvh(note) for segment in segments for note in _notes(segment)):
        raise ImageError(f"{what} is no kernel that QEMU can boot: it has neither a PVH note nor a multiboot header")


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
