"""mmap and munmap: exact ranges, right offsets, no stale translation."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Fork, Load, Map, Store, Unmap
from harness.program.program import Program


@contract("mmap.geometry")
@given(program=drawn(containing=(Map, Unmap)))
def test_vmas_are_what_was_asked_for(guest: Guest, program: Program) -> None:
    """VMAs are page-aligned, sorted, non-empty and disjoint, and are exactly those that were asked for."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.geometry")


@contract("mmap.fixed-replaces")
@given(program=drawn(containing=(Map, Store, Map, Load)))
def test_a_fixed_mapping_replaces_what_was_there(guest: Guest, program: Program) -> None:
    """MAP_FIXED replaces exactly its range, and drops the references of what it replaced."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="mmap.fixed-replaces")


@contract("munmap.exact", catches=("munmap-frees-shared",))
@given(program=drawn(containing=(Map, Store, Fork, Unmap)))
def test_munmap_removes_exactly_its_range(guest: Guest, program: Program) -> None:
    """munmap removes exactly its range, splitting VMAs with the right offsets, and drops its references."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="munmap.exact")


@contract("file.private-offset", catches=("split-loses-offset",))
@given(program=drawn(containing=(Unmap, Load)))
def test_file_pages_keep_their_offset_over_splits(guest: Guest, program: Program) -> None:
    """Every byte of an untouched private file page equals the file's at that offset, after splits and merges."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.private-offset")


@contract("tlb.no-stale", catches=("munmap-keeps-tlb",))
@given(program=drawn(containing=(Store, Unmap, Load)))
def test_no_stale_translation_is_used(guest: Guest, program: Program) -> None:
    """After munmap, mprotect, fork or a copy returns, no CPU uses the old translation."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="tlb.no-stale")
