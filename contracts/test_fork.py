"""Fork: what the child inherits, and what neither sees of the other."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import CHILD_STORES_AFTER_FORK, PARENT_STORES_AFTER_FORK
from harness.program.ops import Fork, Load, Map, Observe, Protect, Refuse, Starve, Store
from harness.program.program import Program


@contract("fork.parent-store-private", catches=("ghost-fork", "fork-keeps-writable", "fork-keeps-tlb", "cow-shares"))
@given(
    program=drawn(
        PARENT_STORES_AFTER_FORK,
        containing=(Fork, Store, Load),
    )
)
def test_a_store_of_the_parent_stays_out_of_its_children(guest: Guest, program: Program) -> None:
    """A private page that the parent writes after fork does not change in any child."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.parent-store-private")


@contract("fork.child-store-private", catches=("ghost-fork", "fork-keeps-writable-child"))
@given(
    program=drawn(
        CHILD_STORES_AFTER_FORK,
        containing=(Fork, Store, Load),
    )
)
def test_a_store_of_a_child_stays_out_of_its_family(guest: Guest, program: Program) -> None:
    """A private page that a child writes does not change in its parent, its siblings or its own later children."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.child-store-private")


@contract("fork.generations", catches=("refork-readonly",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: fork p2
        p2: store a[0] 0x33
        p1: load a[0]
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: fork p2
        p2: store a[0] 0x33
        p1: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: fork p2
        p0: store a[0] 0x44
        p2: load a[0]
        """,
        containing=(Fork, Fork, Store),
    )
)
def test_pages_stay_private_over_generations(guest: Guest, program: Program) -> None:
    """Private pages stay private over three and more generations, also those copied before the next fork."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.generations")


@contract("fork.shares-frames", catches=("fork-copies-at-once",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        observe
        p1: load a[0]
        """,
        containing=(Fork, Observe),
    )
)
def test_parent_and_child_share_what_neither_wrote(guest: Guest, program: Program) -> None:
    """After fork, parent and child share each private frame until one of them writes it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.shares-frames")


@contract("fork.file-private", catches=("file-private-not-cow",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private f
        p0: map a[2..3] rw shared f
        p0: load a[0]
        p0: fork p1
        p1: store a[0] 0x22
        p0: load a[0]
        p0: load a[2]
        p1: load a[2]
        """,
        """
        p0: map a 2 rw private f
        p0: fork p1
        p0: store a[1]+7 0x22
        p1: load a[1]+7
        p1: read f 4100 bss[0] 8
        p1: load bss[0]+3
        """,
        """
        p0: load data[1]
        p0: fork p1
        p1: fork p2
        p2: store data[1] 0x22
        p1: load data[1]
        p0: exec
        p0: load data[1]
        """,
        containing=(Fork, Store, Load, Map),
        weights={Map: 8},
    )
)
def test_a_private_file_page_is_copied_for_its_writer_alone(guest: Guest, program: Program) -> None:
    """A private file page is copied on write for each process; neither the file nor any other mapping sees it."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.file-private")


@contract("fork.inherits-vmas", catches=("fork-drops-prot-none",))
@given(
    program=drawn(
        """
        p0: map a 2 none private anon
        p0: map a[2..3] rw private anon
        p0: protect a[3] r
        p0: fork p1
        """,
        containing=(Fork, Protect),
    )
)
def test_a_child_has_the_vmas_of_its_parent(guest: Guest, program: Program) -> None:
    """The child has exactly the parent's VMAs: ranges, protections, offsets and flags, also those never touched."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.inherits-vmas")


@contract("fork.failed-is-no-op", catches=("failed-fork-leaks",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: store bss[0] 0x12
        p0: starve 4
        p0: starve 6
        p0: starve 8
        observe
        p0: store a[0] 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store bss[0] 0x12
        p1: starve 5
        p1: starve 7
        p1: store a[0] 0x22
        p0: load a[0]
        p0: starve 64
        observe
        """,
        """
        p0: map e 1 rw private anon
        p0: store e[0] 0x11
        p0: store bss[0] 0x11
        p0: starve 5
        p0: starve 9
        p0: store bss[0] 0x22
        p0: fork p1
        p1: store bss[0] 0x33
        p0: load bss[0]
        """,
        containing=(Starve, Store),
    )
)
def test_a_fork_that_fails_leaves_nothing(guest: Guest, program: Program) -> None:
    """A fork that fails leaves the parent, every count and free memory as they were."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.failed-is-no-op")


@contract("fork.failed-is-no-op", catches=("refused-fork-leaks",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: refuse
        observe
        p0: store a[0] 0x22
        p0: fork p1
        p1: store a[0] 0x33
        p1: refuse
        p1: store a[0] 0x44
        p0: load a[0]
        """,
        containing=(Refuse, Store),
    )
)
def test_a_fork_that_is_refused_leaves_nothing(guest: Guest, program: Program) -> None:
    """A fork that fails leaves the parent, every count and free memory as they were."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.failed-is-no-op")
