"""The parts of the model by themselves: page table, VMA list."""

from __future__ import annotations

from harness.model.frame import FrameKind, FramePool
from harness.model.page_table import PTE, PageTable
from harness.model.vma import Vma, VmaList, normalised
from harness.program.units import WINDOW_BY_NAME, Prot

RW = Prot.R | Prot.W
BSS = WINDOW_BY_NAME["bss"].vpn


# ------------------------------------------------------------------------------ page table


def table_with(*vpns: int) -> PageTable:
    pool = FramePool()
    table = PageTable(pool)
    for vpn in vpns:
        table.map(vpn, PTE(pool.fresh(FrameKind.ANON), readable=True, writable=True))
    return table


def test_a_page_is_found_where_it_was_mapped_and_nowhere_else() -> None:
    table = table_with(0x10000, 0x8000000)

    found = [table.lookup(vpn) is not None for vpn in (0x10000, 0x10001, 0x8000000, 0)]

    assert found == [True, False, True, False]


def test_the_walk_goes_in_the_order_of_addresses() -> None:
    vpns = [0x18000000, 5, 0x10000000, 513, 4]

    assert [vpn for vpn, _ in table_with(*vpns).walk()] == sorted(vpns)


def test_neighbours_in_a_2_mib_span_share_their_tables() -> None:
    assert [level for level, _, _ in table_with(0, 511).tables()] == [4, 3, 2, 1]
    assert [level for level, _, _ in table_with(511, 512).tables()] == [4, 3, 2, 1, 1]


def test_tables_are_listed_with_the_first_page_of_their_span() -> None:
    assert [base for _, base, _ in table_with(0x8000205).tables()] == [
        0,
        0x8000000,
        0x8000000,
        0x8000200,
    ]


def test_an_empty_table_stays_until_its_span_holds_no_vma() -> None:
    table = table_with(100, 600)
    table.unmap(100)
    table.unmap(600)

    table.free_tables(100, 601, lambda first, last: first <= 700 < last)

    assert [(level, base) for level, base, _ in table.tables()] == [(4, 0), (3, 0), (2, 0), (1, 512)]


def test_freeing_all_tables_gives_every_frame_back() -> None:
    table = table_with()
    table.map(7, PTE(table.root.frame, readable=True, writable=False))

    table.free_all()

    assert table.pool.in_use == set()


# ------------------------------------------------------------------------------ VMAs


def test_carving_the_middle_splits_a_vma_with_the_right_offsets() -> None:
    vmas = VmaList([Vma(10, 20, RW, "data", 3)])

    taken = vmas.carve(12, 15)

    assert taken == [Vma(12, 15, RW, "data", 5)]
    assert list(vmas) == [Vma(10, 12, RW, "data", 3), Vma(15, 20, RW, "data", 8)]


def test_carving_takes_parts_of_several() -> None:
    vmas = VmaList([Vma(0, 2, RW), Vma(4, 6, RW), Vma(6, 8, Prot.R)])

    assert vmas.carve(1, 7) == [Vma(1, 2, RW), Vma(4, 6, RW), Vma(6, 7, Prot.R)]
    assert list(vmas) == [Vma(0, 1, RW), Vma(7, 8, Prot.R)]


def test_find_tells_pages_from_holes() -> None:
    vmas = VmaList([Vma(2, 4, RW), Vma(6, 8, RW)])

    assert [vmas.find(vpn) is not None for vpn in range(9)] == [vpn in (2, 3, 6, 7) for vpn in range(9)]


def test_only_alike_neighbours_are_merged() -> None:
    merged = normalised(
        [
            Vma(0, 1, RW), Vma(1, 2, RW), Vma(2, 3, Prot.R), Vma(4, 5, Prot.R),
            Vma(5, 6, RW, "data", 0), Vma(6, 7, RW, "data", 1), Vma(7, 8, RW, "data", 3),
        ]
    )  # fmt: skip

    assert [(vma.start, vma.end) for vma in merged] == [(0, 2), (2, 3), (4, 5), (5, 7), (7, 8)]
