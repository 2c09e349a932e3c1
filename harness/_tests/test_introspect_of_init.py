"""The first process of a Linux, which stands still between requests: what the kernel publishes of it, and its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness.agent.codec import decode_write, encode_write
from harness.errors import RigError
from harness.guest.mailbox import Notice
from harness.guests import CANARY, MachineSubject, open_subject
from harness.introspect.page_walk import BrokenTables, Space, frame_of, read_space
from harness.subject import How

PAGE_TABLE = 1 << 26  # KPF_PGTABLE, which Linux sets for tables of the two lowest levels (pgtable_pmd_page_ctor)


@pytest.fixture(scope="module")
def subject() -> Iterator[MachineSubject]:
    try:
        subject = open_subject("linux")
    except RigError as error:
        pytest.skip(f"no machine to test: {error}")
    assert isinstance(subject, MachineSubject)
    subject.execute(CANARY, How())
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def root(subject: MachineSubject) -> int:
    """Find the root table below which user space has the page of the mailbox, which is no other process's."""
    assert subject.observer is not None
    channel = subject.session._guest.channel
    assert channel.mailbox is not None
    observer, page = subject.observer, channel.mailbox._pages[0]

    def has_page(root: int) -> bool:
        try:
            space = read_space(observer.ram, observer.form, root)
        except BrokenTables:
            return False
        return any(leaf.frame == page and leaf.user for leaf in space.leaves.values())

    (found,) = filter(has_page, observer.roots._candidates(Notice(0, 0x40_0000, 0, ())))
    return found


def walked(subject: MachineSubject, root: int) -> Space:
    assert subject.observer is not None
    return read_space(subject.observer.ram, subject.observer.form, root)


def text(subject: MachineSubject, path: str) -> str:
    return (subject.client.read_file(path, length=16_000) or b"").decode("ascii")


def areas(subject: MachineSubject) -> Iterator[tuple[range, dict[str, int]]]:
    """Give the VMAs of /proc/1/smaps: their pages, and each number of kB as pages."""
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text(subject, "/proc/1/smaps"), flags=re.MULTILINE)[1:]:
        start, end = (int(word, 16) >> 12 for word in part.split(maxsplit=1)[0].split("-"))
        yield range(start, end), {key: int(kb) // 4 for key, kb in re.findall(r"^(\w+): +(\d+) kB$", part, re.MULTILINE)}


def test_every_page_is_where_pagemap_says(subject: MachineSubject, root: int) -> None:
    space, wrong, present = walked(subject, root), [], 0
    for vpns, _ in areas(subject):
        data = subject.client.read_file("/proc/1/pagemap", offset=8 * vpns.start, length=8 * len(vpns)) or b""
        for at, vpn in enumerate(vpns):
            entry, leaf = int.from_bytes(data[8 * at : 8 * at + 8], "little"), space.leaf(vpn)
            published = entry & (1 << 55) - 1 if entry >> 63 else None
            present += entry >> 63
            if published != (frame_of(leaf, vpn) if leaf else None):
                wrong.append(f"{vpn:#x} is {published} by pagemap, and its table has {leaf}")

    assert wrong == []
    assert present == len(space.leaves) > 200


def test_the_kernel_counts_the_tables_that_are_walked(subject: MachineSubject, root: int) -> None:
    space = walked(subject, root)

    (kilobytes,) = re.findall(r"^VmPTE:\s+(\d+) kB$", text(subject, "/proc/1/status"), re.MULTILINE)

    assert len(space.tables) == len(set(space.tables)) == 1 + int(kilobytes) // 4  # VmPTE leaves the root out
    flags = [
        int.from_bytes(subject.client.read_file("/proc/kpageflags", offset=8 * table, length=8) or b"", "little")
        for table in space.tables
    ]
    marked = {(level, vpn >> 9 * level) for vpn in space.leaves for level in (1, 2)}
    assert sum(bool(each & PAGE_TABLE) for each in flags) == len(marked)


def test_dirty_bits_are_what_smaps_adds_up(subject: MachineSubject, root: int) -> None:
    space, seen = walked(subject, root), 0
    for vpns, kept in areas(subject):
        if kept["Anonymous"] != kept["Rss"]:  # of a file, Linux counts a page that is dirty in the page cache too
            continue
        dirty = sum(space.leaves[vpn].dirty for vpn in vpns if vpn in space.leaves)
        seen += dirty

        assert dirty == kept["Private_Dirty"] + kept["Shared_Dirty"]
    assert seen > 200


def test_accessed_bits_are_what_smaps_adds_up_and_go_when_they_are_cleared(subject: MachineSubject, root: int) -> None:
    def accessed() -> list[tuple[int, int]]:
        space = walked(subject, root)
        return [
            (sum(space.leaves[vpn].accessed for vpn in vpns if vpn in space.leaves), kept["Referenced"])
            for vpns, kept in areas(subject)
        ]

    before = accessed()
    subject.client._ask((encode_write("/proc/1/clear_refs", b"1\n"), decode_write))
    after = accessed()

    assert all(walked == published for walked, published in before)
    assert sum(walked for walked, _ in before) > 200
    assert sum(walked for walked, _ in after) < sum(walked for walked, _ in before) // 4
