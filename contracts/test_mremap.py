"""mremap: what a mapping holds goes with it."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Load, Map, Remap, Roam, Store
from harness.program.program import Program


@contract(
    "mremap.preserves",
    catches=("remap-leaves-old", "remap-loses-protection", "remap-grows-over"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: remap a[0..1] a[2..3]
        p0: load a[0]
        p0: load a[2]
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] r
        p0: remap a[0] a[1..2]
        p0: store a[1] 0x22
        p0: load a[2]
        """,
        """
        p0: map a 4 rw private anon
        p0: store a[3] 0x11
        p0: remap a[0..3] a[0..1]
        p0: remap a[0..1] a[0..3]
        p0: load a[3]
        """,
        """
        p0: map a 2 rw private f+1
        p0: map a[2] r private anon
        p0: remap a[0..1] a[0..2]
        p0: unmap a[2]
        p0: remap a[0..1] a[0..2]
        p0: load a[2]
        """,
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0] none
        p0: remap a[0] a[3]
        p0: protect a[3] rw
        p0: load a[3]
        """,
        containing=(Remap, Store, Load),
    )
)
def test_a_moved_mapping_keeps_what_it_holds(guest: Guest, program: Program) -> None:
    """Mremap keeps bytes, protection, sharing and frames; the old range is gone, and a grown tail reads as new."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mremap.preserves")


@contract("mremap.preserves", catches=("remap-resets-count",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p0: remap a[0] a[3]
        observe
        p0: store a[3] 0x22
        p1: load a[0]
        """,
        containing=(Store, Fork, Remap),
    )
)
def test_a_moved_page_is_shared_as_it_was(guest: Guest, program: Program) -> None:
    """Mremap keeps bytes, protection, sharing and frames; the old range is gone, and a grown tail reads as new."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mremap.preserves")


@contract("mremap.preserves", catches=("remap-leaves-mapping",))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: roam a[0..1] a[6..8]
        p0: load a[0]
        p0: load a[6]
        p0: store a[8] 0x22
        """,
        """
        p0: map a 3 r private f
        p0: load a[1]
        p0: roam a[1] a[6..7]
        p0: load a[6]
        p0: load a[7]
        p0: load a[1]
        """,
        containing=(Map, Roam, Load),
    )
)
def test_what_grows_moves_to_where_there_is_room(guest: Guest, program: Program) -> None:
    """Mremap keeps bytes, protection, sharing and frames; the old range is gone, and a grown tail reads as new."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mremap.preserves")


@contract("mremap.preserves", catches=("remap-part-loses-offset",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private f
        p0: remap a[1] a[2]
        p0: load a[2]
        """,
        """
        p0: map a 3 rw shared f
        p0: store a[2] 0x11
        p0: remap a[1..2] b[0..1]
        p0: load b[1]
        """,
        containing=(Map, Remap, Load),
    )
)
def test_a_part_that_is_moved_keeps_its_place_in_the_file(guest: Guest, program: Program) -> None:
    """Mremap keeps bytes, protection, sharing and frames; the old range is gone, and a grown tail reads as new."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mremap.preserves")


@contract("tlb.no-stale", catches=("remap-keeps-tlb",))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: store a[0] 0x11
        p0: remap a[0] a[2]
        p0: load a[0]
        """,
        containing=(Store, Remap, Load),
    )
)
def test_no_stale_translation_is_used_after_a_move(guest: Guest, program: Program) -> None:
    """After munmap, mprotect, mremap, fork or a copy returns, no CPU uses the old translation."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tlb.no-stale")


@contract(
    "mremap.duplicates",
    catches=("remap-duplicates-private", "remap-duplicate-loses-offset", "remap-duplicate-takes-old"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw shared anon
        p0: store a[1] 0x11
        p0: remap a[1]-4096 a[2..3]
        p0: store a[2] 0x22
        p0: load a[1]
        p0: load a[3]
        """,
        """
        p0: map a[0..1] rw shared f+1
        p0: fork p1
        p1: remap a[1]-4096 a[2]
        p1: store a[2] 0x22
        p0: load a[1]
        p1: load a[1]
        """,
        """
        p0: map a[0] rw private anon
        p0: store a[0] 0x11
        p0: remap a[0]-4096 a[1..2]
        p0: load a[0]
        p0: load a[1]
        """,
        containing=(Map, Remap, Store, Load),
    )
)
def test_shared_memory_is_mapped_a_second_time(guest: Guest, program: Program) -> None:
    """Mremap of no length maps shared memory a second time, and leaves the first mapping; of private memory it fails."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mremap.duplicates")
