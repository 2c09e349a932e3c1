"""What the kernel counts for a process is what the process has."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Advise, Fork, Map, Remap, Store, Unmap
from harness.program.program import Program


@contract("account.rss", catches=("rss-forgets-unmap", "rss-counts-shared-as-anon", "rss-not-inherited-by-fork"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: unmap a[0]
        """,
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: load a[1]
        p1: map a[1] rw private anon
        """,
        """
        p0: map a 2 rw private f
        p0: load a[0]
        p0: fork p1
        p1: store a[0] 0x11
        p0: truncate f 0
        """,
        """
        p0: map a 2 rw private anon
        p0: load a[0]
        p0: store a[1] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: fork p2
        p2: remap a[0..1] b[0..3]
        p2: advise b[0..1] dontneed
        """,
        containing=(Map, Store, Fork, Unmap),
    )
)
def test_the_resident_set_is_what_is_resident(guest: Guest, program: Program) -> None:
    """What the kernel counts as resident, anonymous, of files and shared, is what a process's page tables hold."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="account.rss")


@contract("account.size", catches=("size-charges-dontfork", "size-forgets-shrink"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: advise a[1..2] dontfork
        p0: fork p1
        p1: fork p2
        p2: map a 2 rw private anon
        p1: unmap a[0..3]
        """,
        """
        p0: map a 8 rw private anon
        p0: store a[0] 0x11
        p0: remap a[0..7] a[0..3]
        p0: fork p1
        p1: remap a[0..3] b[0..5]
        p1: remap b[0..5] b[0..1]
        """,
        """
        p0: map a 4 rw shared f
        p0: map a[1] rw private anon
        p0: brk heap[4]
        p0: vfork p1
        p1: unmap a[2]
        p1: exec small
        p0: brk heap[1]
        """,
        """
        p0: map d[8..9] rw private stack
        p0: load d[3]
        p0: clone p1
        p1: map a 2 none private anon
        p0: fork p2
        p2: exec small
        p0: map a[1] rw private anon
        """,
        containing=(Map, Remap, Fork, Advise),
    )
)
def test_the_size_of_an_address_space_is_that_of_its_mappings(guest: Guest, program: Program) -> None:
    """The size of an address space as the kernel counts it, to which limits are held, is that of its mappings."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="account.size")


@contract("account.promised", catches=("exit-keeps-promise", "remap-promises-twice", "wiped-not-promised"))
@given(
    program=drawn(
        """
        p0: map a 4 rw private anon
        p0: fork p1
        p1: map a 2 rw private anon
        p1: exec small
        p0: unmap a[1]
        p0: exit 0
        """,
        """
        p0: map a 8 rw private anon
        p0: remap a[2..3] b[0..3]
        p0: remap b[0..3] b[0..1]
        p0: fork p1
        p1: remap a[0] b[1]
        p1: unmap a[4..7]
        """,
        """
        p0: map a 4 r private f
        p0: protect a[1..2] rw
        p0: store a[1] 0x11
        p0: map b 4 rw shared anon
        p0: fork p1
        p1: protect a[1] r
        p1: remap b[0..1] c[7..8]
        """,
        """
        p0: brk heap[4]
        p0: map d[8..9] rw private stack
        p0: store d[5] 0x11
        p0: fork p1
        p1: brk heap[1]
        p0: write f 5000 d[5] 17
        p0: truncate f 100
        """,
        """
        p0: map a 4 rw private anon
        p0: advise a[1..2] wipeonfork
        p0: fork p1
        p0: unmap a[2]
        p1: fork p2
        p2: exec small
        p1: remap a[1..2] b[0..2]
        """,
        containing=(Map, Remap, Fork, Unmap),
    )
)
def test_nothing_stays_promised_to_processes_that_are_gone(guest: Guest, program: Program) -> None:
    """What the kernel has promised a process, by what it has mapped, is promised no longer once the process is gone."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="account.promised")
