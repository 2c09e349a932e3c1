"""The parts of the toy kernel on their own: frames, tables, TLB, VMAs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import harness.model_guest
from harness.model_guest.frames import BATCH, JUNK, Frames
from harness.model_guest.observe import _runs
from harness.model_guest.paging import PRESENT, USER, WRITABLE, PageTables, Tlb, entry_of, permits
from harness.model_guest.trouble import OutOfMemory, Panic
from harness.model_guest.vmas import Vma, VmaList
from harness.program.trace import runs_of
from harness.program.units import WINDOWS, Prot

SOUND: frozenset[str] = frozenset()
RW = Prot.R | Prot.W


def test_a_frame_is_zeroed_when_handed_out_and_junk_when_freed() -> None:
    frames = Frames(16, SOUND)
    pfn = frames.allocate()
    frames[pfn].data[7] = 1

    frames.put(pfn)
    junk = bytes(frames[pfn].data)
    again = frames.allocate()

    assert junk == JUNK
    assert again == pfn
    assert not any(frames[again].data)


def test_frames_of_a_batch_are_distinct_and_count_as_free_until_taken() -> None:
    frames = Frames(64, SOUND)
    before = frames.free_count

    taken = [frames.take() for _ in range(BATCH + 1)]

    assert len(set(taken)) == BATCH + 1
    assert frames.free_count == before - BATCH - 1
    assert frames.anonymous == BATCH + 1


def test_a_frame_freed_twice_is_handed_out_twice() -> None:
    frames = Frames(16, SOUND)
    pfn = frames.allocate()

    frames.free(pfn)
    frames.free(pfn)

    assert [frames.allocate(), frames.allocate()] == [pfn, pfn]


def test_a_frame_lives_until_its_last_holder_lets_go() -> None:
    frames = Frames(16, SOUND)
    pfn = frames.allocate()
    frames.get(pfn)

    frames.put(pfn)
    held = frames[pfn].free
    frames.put(pfn)

    assert (held, frames[pfn].free) == (False, True)


def test_memory_ends() -> None:
    frames = Frames(3, SOUND)
    frames.allocate()
    frames.take()

    with pytest.raises(OutOfMemory):
        frames.allocate()
    with pytest.raises(OutOfMemory):
        frames.take()


def test_a_frame_number_out_of_memory_is_a_panic() -> None:
    frames = Frames(16, SOUND)

    with pytest.raises(Panic, match="pfn 0x5a5a"):
        frames[0x5A5A]


def test_tables_find_what_was_stored_in_every_window() -> None:
    tables = PageTables(Frames(64, SOUND))
    root = tables.new_table()
    entries = {window.vpn + i: entry_of(window.vpn + i, PRESENT) for window in WINDOWS for i in range(window.npages)}

    for vpn, entry in entries.items():
        tables.store(root, vpn, entry)

    assert {vpn: tables.lookup(root, vpn) for vpn in entries} == entries
    for window in WINDOWS:
        vpns = range(window.vpn, window.vpn + window.npages)
        assert tables.lookup_range(root, vpns) == [entries[vpn] for vpn in vpns]
    assert tables.lookup(root, 0x7FF_0000_0000 >> 3) == 0


def test_windows_that_lie_apart_have_tables_of_their_own() -> None:
    tables = PageTables(Frames(64, SOUND))
    root = tables.new_table()

    for window in WINDOWS:
        tables.store(root, window.vpn, entry_of(1, PRESENT))
        tables.store(root, window.vpn + window.npages - 1, entry_of(1, PRESENT))

    # root; three PDPTs (low, a-d, e); four PDs (low, a-c, d, e); PTs: text, textend's end, data to heap, bssend's end,
    # a-c, c's end, d, e; for w and v a PD, and two PTs each
    assert tables.count == 1 + 3 + 5 + 12


def test_a_freed_table_reads_as_empty() -> None:
    tables = PageTables(Frames(64, SOUND))
    root = tables.new_table()
    tables.store(root, 5, entry_of(1, PRESENT))

    tables.free_table(root)

    assert tables.entries(root) == []
    assert tables.lookup(root, 5) == 0


@pytest.mark.parametrize(
    ("bits", "read", "write"),
    [
        (PRESENT | USER | WRITABLE, True, True),
        (PRESENT | USER, True, False),
        (PRESENT, False, False),
        (USER | WRITABLE, False, False),
    ],
)
def test_the_hardware_lets_through_what_the_bits_say(bits: int, read: bool, write: bool) -> None:
    entry = entry_of(3, bits)

    assert (permits(entry, write=False), permits(entry, write=True)) == (read, write)


def test_the_tlb_remembers_until_it_is_flushed_or_another_root_is_loaded() -> None:
    tlb = Tlb()
    tlb.switch(1)
    tlb.remember(5, 0x77)

    tlb.switch(1)
    kept = tlb.get(5)
    tlb.switch(2)

    assert (kept, tlb.get(5)) == (0x77, 0)


def test_the_tlb_is_small_and_its_oldest_entry_makes_room() -> None:
    tlb = Tlb()

    for vpn in range(Tlb.SIZE + 1):
        tlb.remember(vpn, 0x77)

    assert (tlb.get(0), tlb.get(1), tlb.get(Tlb.SIZE)) == (0, 0x77, 0x77)


def test_carving_splits_with_the_right_offsets() -> None:
    vmas = VmaList(SOUND, (Vma(10, 14, RW, pgoff=3),))

    removed = vmas.carve(11, 12)

    assert removed == [Vma(11, 12, RW, pgoff=4)]
    assert list(vmas) == [Vma(10, 11, RW, pgoff=3), Vma(12, 14, RW, pgoff=5)]


def test_neighbours_that_become_alike_are_merged_unless_their_offsets_differ() -> None:
    vmas = VmaList(SOUND, (Vma(10, 14, RW, pgoff=3), Vma(14, 16, RW)))

    vmas.protect(11, 12, Prot.R)
    vmas.protect(11, 12, RW)

    assert list(vmas) == [Vma(10, 14, RW, pgoff=3), Vma(14, 16, RW)]


@pytest.mark.parametrize("content", [bytes(4096), b"\x01" + bytes(4095), bytes(range(256)) * 16, b"*.\n\n" * 1024])
def test_the_fast_run_length_encoder_agrees_with_the_plain_one(content: bytes) -> None:
    assert _runs(content) == runs_of(content)


def test_the_toy_kernel_knows_nothing_of_the_model() -> None:
    sources = Path(harness.model_guest.__file__).parent.glob("*.py")
    trees = [ast.parse(path.read_text()) for path in sources]

    imported = {
        node.module
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("harness.")
    }

    allowed = ("harness.model_guest", "harness.program", "harness.errors", "harness.subject")
    assert {module for module in imported if not module.startswith(allowed)} == set()
