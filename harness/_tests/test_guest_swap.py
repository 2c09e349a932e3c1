"""How a guest gets its swap area, and what is said where it does not."""

from __future__ import annotations

import lzma
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from harness.compare.holders import transient_references, transient_text
from harness.guest.definition import load_definition
from harness.guest.image import ramdisk_module
from harness.guest.initramfs import Swap
from harness.program.trace import FrameFlag, FrameSeen


def test_the_archive_holds_what_the_agent_looks_for(tmp_path: Path) -> None:
    module = tmp_path / "brd.ko"
    module.write_bytes(b"a module")

    entries = {entry.name: entry for entry in Swap(256, module).entries()}

    assert entries["swap"].content == b"256\n"
    assert entries["ramdisk.ko"].content == b"a module"
    assert stat.S_ISBLK(entries["dev/ram0"].mode)
    assert entries["dev/ram0"].device == (1, 0)


def test_a_kernel_that_has_disks_in_memory_needs_no_module() -> None:
    assert {entry.name for entry in Swap(16).entries()} == {"swap", "dev/ram0"}


@pytest.mark.parametrize("packed", [False, True])
def test_the_module_is_taken_out_of_the_package(tmp_path: Path, packed: bool) -> None:
    drivers = tmp_path / "package/lib/modules/6.1/kernel/drivers/block"
    drivers.mkdir(parents=True)
    name = "brd.ko.xz" if packed else "brd.ko"
    (drivers / name).write_bytes(lzma.compress(b"a module") if packed else b"a module")

    found = ramdisk_module(tmp_path / "package", tmp_path / "kept.ko")

    assert found == tmp_path / "kept.ko"
    assert found.read_bytes() == b"a module"


def test_a_package_without_the_module_has_none(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()

    assert ramdisk_module(tmp_path, tmp_path / "kept.ko") is None


def test_the_swap_cache_holds_a_frame_and_so_does_the_lru_batch() -> None:
    seen = FrameSeen(1, 3, FrameFlag.ANON | FrameFlag.SWAPCACHE)

    assert transient_references(seen) == 2
    assert transient_text(seen) == " + 2 (LRU batch, swap cache)"
    settled = replace(seen, flags=FrameFlag.LRU | FrameFlag.SWAPCACHE)
    assert transient_text(settled) == " + 1 (swap cache)"


def test_the_guests_with_swap_say_so_and_no_others_do() -> None:
    assert load_definition("linux-swap").swap_pages == load_definition("linux-huge").swap_pages == 256
    assert load_definition("linux").swap_pages == 0
