"""The kernel image that a definition names: found, fetched if need be, and checked.

A Debian kernel is fetched once into the cache, with its SHA-256 beside it, and the file is checked
against that before each use. It is not renewed by itself: delete the folder to get the newest.
"""

from __future__ import annotations

import json
import lzma
import platform
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import ImageError, ToolMissing
from harness.guest.agent_build import build_kernel
from harness.guest.apt import Apt, Package
from harness.guest.cache import cache_folder, locked, need_space, sha256_of, storage, write_atomically
from harness.guest.definition import GuestDefinition
from harness.guest.kernel_check import check_kernel_image

BOOT = Path("/boot")
FETCH_MB = 400  # package lists, the package, and its files unpacked; most of it for a moment only
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_META_DEPTH = 3  # linux-image-cloud-amd64 -> linux-image-VERSION -> (from 7.x on) linux-binary-VERSION
_IMAGES = ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz")
_PASS_ONE = "pass the path of a kernel image with --kernel IMAGE"


@dataclass(frozen=True)
class KernelImage:
    """A kernel image that passed the checks; `note` says what a reader of a report should know.

    `ramdisk` is its module for disks in memory, where it came with one.
    """

    path: Path
    sha256: str
    version: str | None
    note: str = ""
    ramdisk: Path | None = None


def obtain_kernel(definition: GuestDefinition) -> KernelImage:
    """Return the definition's kernel, fetching it if need be.

    Raises ImageError where there is none or it is no kernel, StorageError where the cache cannot hold
    it.
    """
    source = definition.kernel
    if source.source == "given":
        raise ImageError(f"the guest {definition.name!r} has no kernel of its own: {_PASS_ONE}")
    if source.source == "file":
        assert source.path is not None
        return _described(source.path, definition.arch)
    if source.source == "build":
        assert source.path is not None
        return _described(build_kernel(source.path.resolve().name, definition.arch, source.path), definition.arch)
    if shutil.which("apt-get") is None:
        return _host_kernel(definition.arch)
    folder = cache_folder("kernels", source.suite, source.package)
    with locked(folder / "kernel"):
        return _cached(folder, definition) or _fetch(folder, definition)


def _described(path: Path, arch: str, note: str = "") -> KernelImage:
    version = check_kernel_image(path, arch)
    return KernelImage(path, sha256_of(path), version, note)


def _cached(folder: Path, definition: GuestDefinition) -> KernelImage | None:
    """Return the image of an earlier fetch, where it is still what was fetched, and all of it that the guest needs."""
    try:
        record = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
        image = _described(folder / Path(record["image"]).name, definition.arch, note=record.get("note", ""))
        module = folder / Path(record["ramdisk"]).name if record.get("ramdisk") else None
    except (OSError, ValueError, TypeError, KeyError, ImageError):
        return None
    if definition.swap_pages and "ramdisk" not in record:  # fetched when no guest had swap
        return None
    is_whole = image.sha256 == record["sha256"] and (module is None or module.is_file())
    return replace(image, ramdisk=module) if is_whole else None


def _fetch(folder: Path, definition: GuestDefinition) -> KernelImage:
    try:
        return _fetch_from_apt(folder, definition)
    except (ImageError, ToolMissing) as error:
        raise ImageError(f"no kernel for the guest: {error}; {_PASS_ONE}") from error


def _fetch_from_apt(folder: Path, definition: GuestDefinition) -> KernelImage:
    source, arch = definition.kernel, definition.arch
    need_space(folder, FETCH_MB, "fetching a kernel")
    with (
        storage(f"the cache folder {folder}"),
        tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as work,
    ):
        apt = Apt(Path(work), source.suite, architecture=_DEBIAN_ARCHITECTURES[arch])
        apt.update()
        found, note = _newest_image(apt, source.package)
        version = found.package.version.replace(":", "_")
        place = folder / f"vmlinuz-{version}"
        checked = _described(found.image, arch)
        record = {"image": place.name, "sha256": checked.sha256, "package": asdict(found.package), "note": note}
        module = None
        if definition.swap_pages:
            module = ramdisk_module(found.modules(apt), folder / f"brd-{version}.ko")
            record["ramdisk"] = module.name if module else ""
        found.image.replace(place)
    write_atomically(folder / "kernel.json", json.dumps(record, indent=1).encode())
    return replace(checked, path=place, note=note, ramdisk=module)


@dataclass(frozen=True)
class _Found:
    """An image in its package, which is unpacked in a folder; `depends` is of all packages on the way to it."""

    package: Package
    folder: Path
    image: Path
    depends: str

    def modules(self, apt: Apt) -> Path:
        """Unpack the package with the kernel's modules, where that is another one (from 7.x on); return its folder."""
        other = re.search(r"\b(linux-modules-\d[a-z0-9.+~-]*)", self.depends)
        return apt.unpack(apt.versions(other[1])[0]) if other else self.folder


def ramdisk_module(package: Path, place: Path) -> Path | None:
    """Put the module for disks in memory out of an unpacked package to `place`; None where there is none in it."""
    found = next(package.glob("**/drivers/block/brd.ko*"), None)
    if found is None:
        return None
    content = found.read_bytes()
    write_atomically(place, lzma.decompress(content) if found.suffix == ".xz" else content)
    return place


def _newest_image(apt: Apt, name: str) -> tuple[_Found, str]:
    """Find the image of the newest version of `name` that can be had, and say so where that is not the newest.

    The index of one area of a distribution (security) may name files that its mirror has no more, while another (main)
    still has an older version.
    """
    versions = apt.versions(name)
    refusal: ImageError | None = None
    for candidate in versions:
        try:
            found = _find_image(apt, candidate)
        except ImageError as error:
            refusal = refusal or error
            continue
        note = f"{name} {versions[0].version} cannot be fetched, so {candidate.version} is used" if refusal else ""
        return found, note
    raise refusal or ImageError(f"the package {name} is not on the mirrors of this machine")


def _find_image(apt: Apt, package: Package) -> _Found:
    """Unpack `package`, or what it depends on where it is a meta package, until an image turns up."""
    depends = ""
    for _ in range(_META_DEPTH):
        unpacked = apt.unpack(package)
        images = [path for pattern in _IMAGES for path in unpacked.glob(pattern) if path.is_file()]
        if images:
            return _Found(package, unpacked, images[0], depends)
        depends += f", {package.depends}"
        wanted = re.search(r"\b(linux-(?:image|binary)-(?:unsigned-)?\d[a-z0-9.+~-]*)", package.depends)
        if wanted is None:
            break
        package = apt.versions(wanted[1])[0]
    raise ImageError(f"the package {package.name} holds no kernel image")


def _host_kernel(arch: str) -> KernelImage:
    """Return the kernel that this machine itself boots, for machines without apt."""
    newest_first = sorted(BOOT.glob("vmlinuz-*"), key=_age)
    complaint = f"there is none in {BOOT}"
    for path in [BOOT / f"vmlinuz-{platform.release()}", *newest_first]:
        try:
            return _described(path, arch, note=f"apt-get is not here, so this machine's own {path} is used")
        except ImageError as error:
            complaint = str(error) if path.exists() else complaint
    raise ImageError(f"no kernel for the guest: apt-get is not here, and {complaint}; {_PASS_ONE}")


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
