"""Lengths in bytes: system calls on memory take them for whole pages."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Advise, Load, Map, Protect, Store, Unmap
from harness.program.program import Program


@contract(
    "length.rounds-up",
    catches=(
        "mmap-rounds-down",
        "munmap-rounds-down",
        "mprotect-rounds-down",
        "madvise-rounds-down",
        "mremap-rounds-down",
        "msync-rounds-down",
        "length-0-is-a-page",
        "mprotect-refuses-length-0",
    ),
)
@given(
    program=drawn(
        """
        p0: map a[0..1]-4000 rw private anon
        p0: store a[1] 0x11
        p0: map a[0..1]-1 rw shared f
        p0: load a[1]
        """,
        """
        p0: map a 3 rw private anon
        p0: store a[1] 0x11
        p0: unmap a[0..1]-4095
        p0: load a[1]
        p0: load a[2]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: protect a[0..1]-100 r
        p0: store a[1] 0x22
        p0: advise a[0..1]-1 dontneed
        p0: load a[1]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[1] 0x11
        p0: remap a[0..1]-7 a[2..3]-7
        p0: load a[3]
        """,
        """
        p0: map a 2 rw private anon
        p0: unmap a[1]
        p0: sync a[0..1]-4095
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: protect a[0]-4096 none
        p0: advise a[0]-4096 dontneed
        p0: sync a[0]-4096
        p0: load a[0]
        """,
        containing=(Map, Store, Unmap, Protect, Advise, Load),
    )
)
def test_a_length_is_one_of_whole_pages(guest: Guest, program: Program) -> None:
    """A length counts to the end of the page in which it ends, and no length at all is no page."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="length.rounds-up")
