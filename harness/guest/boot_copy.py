"""Copies of a kernel image that QEMU can start, where it cannot start the image as it was built.

- An ELF64 file with a multiboot header: QEMU's multiboot loader refuses the machine EM_X86_64, and has nothing against
  the same file with EM_386 in that field. Source: QEMU hw/i386/multiboot.c, load_multiboot.
- An ELF64 file with a multiboot header that is to be entered by its PVH note: QEMU looks for multiboot first, so the copy
  has no such header any more. Source: QEMU hw/i386/x86.c, x86_load_linux.
- An arm64 Image that is packed for EFI: unpacked.
- An arm64 ELF file that begins, once it is loaded, with the header of a flat Image: laid out as that Image. QEMU gives
  the device tree, with the command line and the initramfs, to an Image alone. Source: QEMU hw/arm/boot.c.
- A kernel with an initramfs inside: the archive is found by its magic numbers, and replaced by ours.

The copies lie in the cache, named after what went into them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.errors import ImageError
from harness.guest.cache import cache_folder, prune, write_atomically
from harness.guest.image import KernelImage
from harness.guest.initramfs import archive_length, fitted
from harness.guest.kernel_check import check_page_size, has_pvh_note, is_arm64_image, is_zboot, multiboot_header

_E_MACHINE, _EM_386, _EM_X86_64, _EM_AARCH64 = 18, 3, 62, 183
_LARGEST_IMAGE = 256 << 20
_CPIO = b"070701"
_KEEP = 8


def bootable(kernel: KernelImage, *, load: str, initramfs: Sequence[bytes] = ()) -> KernelImage:
    """Return `kernel`, or the copy of it that QEMU can start by `load`, with the first of `initramfs` that fits in it.

    Raises ImageError where that cannot be done, StorageError where the cache cannot hold the copy.
    """
    original = kernel.path.read_bytes()
    content = _enterable(original, load, kernel.path)
    check_page_size(content, kernel.path)
    if initramfs:
        content = _with_initramfs(content, initramfs, kernel.path)
    if content == original:
        return kernel
    digest = hashlib.sha256(content).hexdigest()
    path = cache_folder("kernels", "copies") / f"{digest[:32]}.img"
    if not path.is_file():
        write_atomically(path, content)
    prune(path.parent, "*.img", keep=_KEEP)
    return replace(kernel, path=path, sha256=digest)


def _enterable(content: bytes, load: str, path: Path) -> bytes:
    if is_zboot(content[:8]):
        return _unpacked(content, path)
    if not content.startswith(b"\x7fELF"):
        return content
    multiboot = multiboot_header(content)
    machine = struct.unpack_from("<H", content, _E_MACHINE)[0]
    if machine == _EM_AARCH64:
        return _flat_image(content, path)
    if load == "multiboot" and multiboot is None:
        raise ImageError(f'the kernel image {path} has no multiboot header, and its definition says load = "multiboot"')
    if load == "pvh" and not has_pvh_note(content):
        raise ImageError(f'the kernel image {path} has no PVH note, and its definition says load = "pvh"')
    if multiboot is None:
        return content
    at, has_addresses = multiboot
    if load == "pvh" or (load == "auto" and machine == _EM_X86_64 and not has_addresses and has_pvh_note(content)):
        return content[:at] + bytes(4) + content[at + 4 :]
    if machine == _EM_X86_64 and not has_addresses:
        return content[:_E_MACHINE] + struct.pack("<H", _EM_386) + content[_E_MACHINE + 2 :]
    return content


def _flat_image(content: bytes, path: Path) -> bytes:
    """Lay an arm64 ELF file out as in memory, if that is an Image; else leave it as it is."""
    segments = [segment for segment in ELFFile(io.BytesIO(content)).iter_segments() if segment["p_type"] == "PT_LOAD"]
    parts = {segment["p_paddr"]: segment.data() for segment in segments if segment["p_filesz"]}
    start = min(parts, default=0)
    end = max((at + len(data) for at, data in parts.items()), default=0)
    if end - start > _LARGEST_IMAGE:
        raise ImageError(f"the kernel image {path} is spread over {end - start >> 20} MiB of physical addresses")
    image = bytearray(end - start)
    for at, data in parts.items():
        image[at - start : at - start + len(data)] = data
    return bytes(image) if is_arm64_image(image[:60]) else content


def _unpacked(content: bytes, path: Path) -> bytes:
    at, size = struct.unpack_from("<II", content, 8)
    packing = content[24:32].partition(b"\0")[0].decode("ascii", "replace")
    if packing != "gzip":
        raise ImageError(f"the kernel image {path} is packed with {packing}; unpack it, or pass the flat Image")
    try:
        return gzip.decompress(content[at : at + size])
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"the kernel image {path} is packed, and damaged: {error}") from error


def _with_initramfs(content: bytes, initramfs: Sequence[bytes], path: Path) -> bytes:
    places = _archives(content)
    if len(places) != 1:
        found = "no initramfs" if not places else f"{len(places)} of them"
        raise ImageError(
            f"the initramfs in the kernel image {path} cannot be replaced: there is {found} (cpio, not packed)"
        )
    at, length = places[0]
    ours = next(filter(None, (fitted(each, length) for each in initramfs)), None)
    if ours is None:
        raise ImageError(
            f"the initramfs in the kernel image {path} has {length} bytes, and the agent's needs {len(initramfs[-1])}; "
            "build the kernel with one from: python -m harness initramfs --pad SIZE"
        )
    return content[:at] + ours + content[at + length :]


def _archives(content: bytes) -> list[tuple[int, int]]:
    """Find the cpio archives in `content`: offset and length of each, up to the end of its trailer."""
    found = []
    at = content.find(_CPIO)
    while at >= 0:
        length = archive_length(content, at)
        if length:
            found.append((at, length))
        at = content.find(_CPIO, at + max(length, 1))
    return found
