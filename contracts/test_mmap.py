"""mmap and munmap: exact ranges, right offsets, no stale translation."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import PARENT_STORES_AFTER_FORK, STORE_TO_WHAT_IS_READ_ONLY_NOW
from harness.program.ops import Fork, Load, Map, Protect, Remap, Store, Unmap
from harness.program.program import Program


@contract(
    "mmap.geometry", catches=("split-loses-offset", "merge-ignores-file", "merge-ignores-page", "merge-ignores-sharing")
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private f
        p0: map a[2] rw private g+2
        p0: map a[3] rw shared g+3
        p0: map a[4] r shared g+4
        p0: unmap a[1]
        """,
        containing=(Map, Unmap),
    )
)
def test_vmas_are_what_was_asked_for(guest: Guest, program: Program) -> None:
    """VMAs are page-aligned, sorted, non-empty and disjoint, and are exactly those that were asked for."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.geometry")


@contract("mmap.fixed-replaces", catches=("map-keeps-old-pages",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: map a[0] rw private anon
        p0: load a[0]
        """,
        containing=(Map, Store, Map, Load),
    )
)
def test_a_fixed_mapping_replaces_what_was_there(guest: Guest, program: Program) -> None:
    """MAP_FIXED replaces exactly its range, and drops the references of what it replaced."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.fixed-replaces")


@contract(
    "mmap.open-mode",
    catches=(
        "map-writes-read-only-file",
        "map-of-unreadable-file",
        "private-map-wants-writable-file",
        "mprotect-writes-read-only-file",
        "remap-forgets-open-mode",
        "merge-forgets-mode",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 r shared f:r
        p0: protect a[0] rw
        p0: store a[0] 0x11
        p0: read f 0 data[0] 1
        """,
        """
        p0: map a[0] rw shared f:r
        p0: map a[1] rw private f:r
        p0: store a[1] 0x11
        p0: map a[2] r private f:w
        p0: map a[3] w shared g:w
        """,
        """
        p0: map a[1] r shared f+1:r
        p0: map a[0] r shared f
        p0: map a[2] r shared f+2
        p0: fork p1
        p1: protect a[1] rw
        p0: protect a[0] rw
        p0: protect a[2] rw
        """,
        """
        p0: map a[0] r shared f+1:r
        p0: load a[0]
        p0: fork p1
        p1: remap a[0] a[1..2]
        p1: protect a[1..2] rw
        p0: protect a[0] rx
        p0: protect a[0] rw
        """,
        containing=(Map, Protect, Store),
    )
)
def test_a_mapping_asks_for_no_more_than_its_descriptor(guest: Guest, program: Program) -> None:
    """A file is mapped only as its descriptor is open: for reading, and for stores to shared memory for writing too."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.open-mode")


@contract(
    "mmap.noreplace",
    catches=("noreplace-replaces", "noreplace-looks-at-start", "noreplace-keeps-distance", "hint-looks-at-start"),
)
@given(
    program=drawn(
        """
        p0: map a[1] rw private anon
        p0: store a[1] 0x11
        p0: map a[1] rw private anon noreplace
        p0: load a[1]
        """,
        """
        p0: map a[2] rw private anon
        p0: store a[2] 0x11
        p0: map a[1..2] rw private anon noreplace
        p0: load a[2]
        p0: map a[1] rw private anon noreplace
        p0: store a[1] 0x22
        p0: map a[3] rw shared f noreplace
        p0: load a[3]
        """,
        """
        p0: map a[1] rw private anon
        p0: store a[1] 0x11
        p0: map a[0..1] rw private anon hint
        p0: load a[1]
        p0: map a[2..3] rw private anon hint
        p0: store a[2] 0x22
        p0: map a[0] rw private anon hint
        p0: load a[0]
        """,
        containing=(Map, Store, Map, Load),
    )
)
def test_a_mapping_that_is_not_fixed_replaces_nothing(guest: Guest, program: Program) -> None:
    """MAP_FIXED_NOREPLACE maps a free range, and fails where a page of it is taken; a hint replaces nothing."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.noreplace")


@contract(
    "mmap.populate",
    catches=(
        "populate-ignored",
        "populate-reads",
        "populate-gives-cache",
        "populate-tells-failure",
        "populate-asks-nobody",
        "populate-keeps-hold",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon fixed populate
        observe
        p0: fork p1
        p0: store a[0] 0x11
        p1: load a[0]
        """,
        """
        p0: map a 2 rw private f+1 fixed populate
        p0: map b 2 rw shared f+1 fixed populate
        p0: store a[0] 0x11
        p0: load b[0]
        p0: store b[1] 0x22
        p0: load a[1]
        """,
        """
        p0: truncate f 4196
        p0: map a 3 rw private f fixed populate
        p0: truncate f 12288
        p0: store a[2] 0x11
        """,
        """
        p0: map a 10 none private anon fixed populate
        p0: map b 2 r private anon fixed populate
        observe
        p0: protect a[0..1] rw
        p0: store a[0] 0x11
        """,
        containing=(Map, Store),
    )
)
def test_populating_a_mapping_is_a_touch_of_its_pages(guest: Guest, program: Program) -> None:
    """MAP_POPULATE brings pages in as a load or a store would, as far as it can, and does not tell where it cannot."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.populate")


@contract("munmap.exact", catches=("munmap-frees-shared",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: unmap a[0]
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: unmap a[0]
        p0: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: unmap a[0..2]
        p0: load a[1]
        """,
        """
        p0: map c[5..15] rw private anon
        p0: store c[8] 0x11
        p0: unmap c[7..8]
        p0: load c[8]
        """,
        containing=(Map, Store, Fork, Unmap),
    )
)
def test_munmap_removes_exactly_its_range(guest: Guest, program: Program) -> None:
    """Munmap removes exactly its range, splitting VMAs with the right offsets, and drops its references."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="munmap.exact")


@contract("file.private-offset", catches=("split-loses-offset", "border-keeps-offset", "merge-ignores-page"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private f
        p0: protect a[2..3] r
        p0: protect a[2] rw
        p0: load a[3]
        p0: protect a[1] r
        p0: load a[2]
        p0: load a[3]
        """,
        """
        p0: map a 4 r private f
        p0: protect a[0..1] rw
        p0: protect a[0..1] r
        p0: load a[0]
        p0: protect a[3] none
        p0: protect a[2..3] rw
        p0: load a[3]
        """,
        """
        p0: map a[2] r private f+2
        p0: map a[1] r private f+1
        p0: map a[0] r private f
        p0: load a[0]
        p0: load a[1]
        p0: map a[3] r private f
        p0: map a[4] r private f+2
        p0: load a[3]
        p0: load a[4]
        """,
        """
        p0: map a 3 r private f
        p0: remap a[1..2] b[0..2]
        p0: load b[0]
        p0: unmap b[0]
        p0: roam b[1..2] a[4..7]
        p0: load a[5]
        p0: load a[0]
        """,
        containing=(Unmap, Load),
    )
)
def test_file_pages_keep_their_offset_over_splits(guest: Guest, program: Program) -> None:
    """Every byte of an untouched private file page equals the file's at that offset, after splits and merges."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.private-offset")


@contract(
    "tlb.no-stale",
    catches=("munmap-keeps-tlb", "mprotect-keeps-tlb", "fork-keeps-tlb", "flush-first-page", "dontneed-keeps-tlb"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: unmap a[0]
        p0: load a[0]
        """,
        STORE_TO_WHAT_IS_READ_ONLY_NOW,
        PARENT_STORES_AFTER_FORK,
        """
        p0: store data[0] 0x11
        p0: fork p1
        p0: store data[0] 0x22
        p1: load data[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: load a[0]
        p0: map a[0] rw private anon
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: load a[0]
        p0: protect a[0] none
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] dontneed
        p0: load a[0]
        """,
        """
        p0: map a 4 rw private anon
        p0: store a[3] 0x11
        p0: protect a[0..3] r
        p0: store a[3] 0x22
        p0: load a[3]
        p0: unmap a[2..3]
        p0: load a[3]
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: load a[0]
        p0: receive pipe a[0] 3 0x22
        p0: load a[0]
        """,
        containing=(Store, Unmap, Load),
    )
)
def test_no_stale_translation_is_used(guest: Guest, program: Program) -> None:
    """After munmap, mprotect, mremap, fork or a copy returns, no CPU uses the old translation."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tlb.no-stale")


@contract("tlb.no-stale", catches=("mprotect-keeps-tlb", "remap-keeps-tlb", "flush-first-page"))
@given(
    program=drawn(
        """
        p0: map w 1026 rw private anon
        p0: store w[511] 0x11
        p0: remap w[0..511] v[0..511]
        p0: load w[511]
        p0: load v[511]
        p0: remap v[0..511] w[512..1023]
        p0: load v[511]
        p0: load w[1023]
        """,
        """
        p0: map a 2 rw shared f
        p0: load a[0]
        p0: load a[1]
        p0: truncate f 4096
        p0: load a[1]
        p0: truncate f 0
        p0: load a[0]
        """,
        """
        p0: map a 2 r private f
        p0: load a[1]
        p0: protect a[0..1] none
        p0: load a[1]
        p0: protect a[0..1] r
        p0: load a[1]
        p0: remap a[1] a[3]
        p0: load a[1]
        """,
        containing=(Load, Protect, Remap),
    )
)
def test_no_stale_translation_of_a_block_or_a_file_is_used(guest: Guest, program: Program) -> None:
    """After munmap, mprotect, mremap, fork or a copy returns, no CPU uses the old translation."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tlb.no-stale")
