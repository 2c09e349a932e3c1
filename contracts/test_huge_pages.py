"""Huge pages: nobody can tell them from small ones but by the time that they save."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Store
from harness.program.program import Program

FAULTS = (
    "huge-not-zeroed",
    "huge-split-loses-cow",
    "huge-split-forgets-counts",
    "huge-split-leaks-table",
    "huge-cow-copies-first-page",
    "huge-sole-owner-copies",
    "huge-reuse-looks-at-first",
    "huge-fork-keeps-writable",
    "huge-fork-counts-once",
    "huge-teardown-frees-first-only",
    "huge-unmap-part-frees-all",
    "huge-protect-part-protects-all",
    "huge-protect-part-ignored",
    "huge-dontneed-part-ignored",
    "huge-keeps-tlb",
    "huge-remap-loses-offset",
    "huge-mapped-beyond-vma",
    "huge-replaces-small",
)


@contract("huge.transparent", catches=FAULTS)
@given(
    program=drawn(
        """
        p0: map w 1026 rw private anon
        p0: store w[256] 0x11
        p0: store w[767] 0x22
        p0: fork p1
        p1: store w[0] 0x33
        p0: load w[0]
        p0: store w[511] 0x44
        p1: load w[511]
        p1: load w[256]
        p1: exit 0
        observe
        p0: store w[1022] 0x55
        p0: load w[767]
        """,
        """
        p0: map w 1026 rw private anon
        p0: fill w[1] 0x11
        p0: fill w[510] 0x22
        p0: load w[256]
        p0: unmap w[2..256]
        p0: load w[256]
        p0: load w[1]
        p0: load w[510]
        p0: store w[512] 0x33
        p0: protect w[510..512] r
        p0: store w[512] 0x44
        p0: store w[511] 0x55
        p0: store w[513] 0x66
        """,
        """
        p0: map w 1026 rw private anon
        p0: store w[2] 0x11
        p0: store w[767] 0x22
        p0: remap w[2..511] v[1..510]
        p0: load v[1]
        p0: store v[510] 0x33
        p0: remap w[512..1023] v[512..1023]
        p0: load w[767]
        p0: load v[767]
        p0: store v[512] 0x44
        """,
        """
        p0: map w 1026 rw private anon
        p0: store w[510] 0x11
        p0: store w[1] 0x22
        p0: fork p1
        p0: advise w[256..511] dontneed
        p0: load w[510]
        p1: load w[510]
        p1: unmap w[0..510]
        p0: load w[1]
        p1: store w[511] 0x33
        p1: exit 0
        p0: store w[1] 0x44
        """,
        """
        p0: map w[0..255] rw private anon
        p0: store w[1] 0x11
        p0: map w[256..1025] rw private anon
        p0: store w[510] 0x22
        p0: load w[1]
        p0: fill w[1023] 0x33
        p0: unmap w[512..1025]
        p0: map w[512..767] rw private anon
        p0: store w[767] 0x44
        p0: load w[512]+7
        p0: load w[1022]
        """,
        containing=(Fork, Store),
        windows=("w", "v"),
        max_pages=26,
    )
)
def test_a_huge_page_is_as_its_pages_would_be(guest: Guest, program: Program) -> None:
    """Shared, split, moved, protected or freed in part, each page of a huge page is what a small one would be."""
    verdict = guest.run(program, whole=True)

    assert_conforms(verdict, to="huge.transparent")
