"""What the kernel counts for a process is what the process has."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Map, Store, Unmap
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
