"""madvise: what is advised is done, to whom it is advised, and to nobody else."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Advise, Fork, Load, Store
from harness.program.program import Program


@contract("madvise.dontneed", catches=("dontneed-ignored", "dontneed-keeps-tlb"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: advise a[0..1] dontneed
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] dontneed
        p1: load a[0]
        p0: load a[0]
        """,
        """
        p0: store data[1] 0x11
        p0: advise data[0..2] dontneed
        p0: load data[1]
        """,
        containing=(Store, Advise, Load),
    )
)
def test_what_was_advised_away_reads_as_new(guest: Guest, program: Program) -> None:
    """Memory that was advised away reads as new: zeroes where it is anonymous, else what the file holds; shared stays."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="madvise.dontneed")


@contract("madvise.free", catches=("free-takes-shared",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] free
        observe
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: advise a[0..1] free
        p0: store a[0]+1 0x22
        p0: load a[0]
        p0: load a[0]+1
        """,
        containing=(Store, Advise, Load),
    )
)
def test_what_is_free_to_go_goes_whole_and_alone(guest: Guest, program: Program) -> None:
    """A page that was advised to be free reads as before or as zeroes until it is written, and nobody else is affected."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="madvise.free")


@contract(
    "madvise.free",
    catches=(
        "free-keeps-tlb", "remap-loses-dirty", "mprotect-loses-dirty", "fork-loses-dirty", "kernel-write-leaves-clean",
        "pageout-ignores-dirty",
    ),
)  # fmt: skip
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: advise a[0..1] free
        p0: store a[0] 0x33
        p0: store a[1] 0x44
        p0: remap a[0] a[2]
        p0: protect a[1] r
        p0: advise a[1..2] pageout
        p0: load a[1]
        p0: load a[2]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] free
        p0: store a[0] 0x22
        p0: fork p1
        p1: advise a[0] pageout
        p1: load a[0]
        p1: exit 0
        p0: advise a[0] pageout
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] free
        p0: receive pipe a[0]+2 3 0x22
        p0: advise a[0..1] pageout
        p0: load a[0]+2
        p0: store a[1] 0x33
        p0: advise a[0..1] pageout
        p0: load a[0]
        p0: load a[1]
        """,
        """
        p0: map a 2 rw private anon
        p0: fill a[0] 0x11
        p0: fill a[1] 0x22
        p0: advise a[0..1] free
        p0: read f 100 a[0]+4090 17
        p0: advise a[0..1] pageout
        p0: load a[0]+4090
        p0: load a[1]+7
        """,
        containing=(Store, Advise, Load),
    )
)
def test_what_was_stored_since_it_was_free_to_go_stays(guest: Guest, program: Program) -> None:
    """A page that was advised to be free reads as before or as zeroes until it is written, and nobody else is affected."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="madvise.free")


@contract("madvise.populate", catches=("populate-write-reads",))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0..2] populate-write
        observe
        p0: store a[0] 0x22
        p1: load a[0]
        """,
        """
        p0: map a 2 w private anon
        p0: advise a[0..1] populate-read
        p0: advise a[0..2] populate-write
        """,
        containing=(Store, Advise),
    )
)
def test_populating_is_a_touch_without_a_change(guest: Guest, program: Program) -> None:
    """Populating brings pages in as a load or a store would, and changes no byte."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="madvise.populate")


@contract("madvise.pageout", catches=("pageout-takes-stored", "pageout-takes-shared", "pageout-drops-cache"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: advise a[0] free
        p0: advise a[0..1] pageout
        p1: advise a[0] pageout
        p0: load a[0]
        """,
        """
        p0: map a 2 rw shared m
        p0: store a[0] 0x11
        p0: load a[1]
        p0: advise a[0..1] pageout
        p0: load a[0]
        p0: store a[1] 0x22
        p0: fork p1
        p1: advise a[0..1] pageout
        p1: load a[1]
        """,
        """
        p0: map a 2 rw private f+1
        p0: store a[0] 0x11
        p0: advise a[0..1] cold
        p0: advise a[0..1] pageout
        p0: load a[0]
        p0: load a[1]
        """,
        """
        p0: store data[1] 0x11
        p0: load data[0]
        p0: advise data[0..2] pageout
        p0: load data[1]
        """,
        containing=(Store, Advise, Load),
    )
)
def test_what_may_be_paged_out_keeps_its_bytes(guest: Guest, program: Program) -> None:
    """Memory that is cold, or may be paged out, keeps every byte that was stored to it, for all who have it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="madvise.pageout")


@contract("fork.dontfork", catches=("dontfork-ignored", "dofork-ignored", "merge-forgets-advice", "split-loses-advice"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] dontfork
        p0: advise a[0] dofork
        p0: fork p1
        p1: load a[0]
        p1: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: advise a[1] dontfork
        p0: fork p1
        p1: load a[1]
        p0: load a[1]
        """,
        """
        p0: map a 1 rw private anon
        p0: advise a[0] dontfork
        p0: map a[1] rw private anon
        p0: store a[1] 0x11
        p0: fork p1
        p1: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: advise a[0..2] dontfork
        p0: unmap a[1]
        p0: remap a[2] a[2..3]
        p0: store a[3] 0x11
        p0: fork p1
        p1: load a[2]
        p1: load a[3]
        """,
        containing=(Store, Advise, Fork, Load),
    )
)
def test_memory_that_is_not_forked_stays_with_the_parent(guest: Guest, program: Program) -> None:
    """A child does not get memory that was advised not to be forked, and the parent keeps it as it is."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.dontfork")


@contract("fork.wipeonfork", catches=("wipeonfork-ignored", "keeponfork-ignored", "protect-forgets-advice"))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: advise a[0..1] wipeonfork
        p0: advise a[0] keeponfork
        p0: fork p1
        p1: load a[0]
        p1: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: advise a[1] wipeonfork
        p0: fork p1
        p1: load a[1]
        p1: store a[1] 0x22
        p1: fork p2
        p2: load a[1]
        p0: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: advise a[1] wipeonfork
        p0: protect a[1] r
        p0: fork p1
        p1: load a[1]
        p0: remap a[1] a[3]
        p0: fork p2
        p2: load a[3]
        """,
        containing=(Store, Advise, Fork, Load),
    )
)
def test_memory_that_is_wiped_on_fork_is_zero_in_the_child(guest: Guest, program: Program) -> None:
    """A child gets zeroes for memory that was advised to be wiped, and so do its own children; the parent keeps it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.wipeonfork")
