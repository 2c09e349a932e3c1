from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from harness.errors import StorageError
from harness.guest.ram import PAGE_SIZE, GuestRam


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    ram = GuestRam("x86_64", 32)
    yield ram
    ram.close()


def test_what_another_process_writes_is_seen(ram: GuestRam) -> None:
    os.pwrite(ram.fd, (0x1122334455667788).to_bytes(8, "little"), 5 * PAGE_SIZE)

    assert ram.words[5 * PAGE_SIZE // 8] == 0x1122334455667788
    assert len(ram.bytes) == 32 << 20


def test_only_pages_that_somebody_touched_are_listed(ram: GuestRam) -> None:
    os.pwrite(ram.fd, b"x", 5 * PAGE_SIZE)
    os.pwrite(ram.fd, b"x", 6 * PAGE_SIZE + 17)
    os.pwrite(ram.fd, b"x", 32 * (1 << 20) - 1)

    assert list(ram.used_pages()) == [range(5, 7), range(8191, 8192)]


def test_an_address_outside_of_ram_has_no_place(ram: GuestRam) -> None:
    arm = GuestRam("arm64", 32)
    places = [ram.offset(0), ram.offset((32 << 20) - 1), ram.offset(32 << 20), ram.offset(-1)]
    others = [arm.offset(0), arm.offset(0x4000_0000), arm.offset(0x4200_0000)]
    arm.close()

    assert places == [0, (32 << 20) - 1, None, None]
    assert others == [None, 0, None]


def test_it_leaves_nothing_behind(ram: GuestRam) -> None:
    descriptor = ram.fd

    ram.close()
    ram.close()

    assert not os.path.exists(f"/proc/self/fd/{descriptor}")  # noqa: PTH110 - a Path would follow the link


@pytest.mark.parametrize(
    ("arch", "memory_mb", "why"), [("x86_64", 4096, "more than one piece"), ("vax", 32, "not known here")]
)
def test_a_machine_whose_layout_is_not_known_is_refused(arch: str, memory_mb: int, why: str) -> None:
    with pytest.raises(StorageError, match=why):
        GuestRam(arch, memory_mb)
