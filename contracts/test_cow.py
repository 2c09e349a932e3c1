"""Copy-on-write: when a page is copied, what the copy holds, when the frame is kept."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from contracts.stories import CHILD_STORES_AFTER_A_ROUND_TRIP, CHILD_STORES_AFTER_FORK, PARENT_STORES_AFTER_FORK
from harness.program.ops import Exit, Fill, Fork, Load, Observe, Store
from harness.program.program import Program


@contract("cow.break-copies-all", catches=("cow-copies-part", "cow-copies-part-tail"))
@given(
    program=drawn(
        """
        p0: map a 1 rw private anon
        p0: fill a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: load a[0]+4095
        """,
        containing=(Fill, Fork, Store),
    )
)
def test_a_copy_holds_every_byte(guest: Guest, program: Program) -> None:
    """Breaking copy-on-write copies every byte of the page."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.break-copies-all")


@contract("cow.sole-owner-reuses", catches=("sole-owner-always-copies",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        observe
        p0: store a[0] 0x22
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        observe
        p0: store a[0] 0x33
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exec
        observe
        p0: store a[0] 0x22
        """,
        containing=(Fork, Exit, Store, Observe),
    )
)
def test_a_sole_owner_writes_without_a_copy(guest: Guest, program: Program) -> None:
    """Once every other holder is gone, a store keeps the frame and copies nothing."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.sole-owner-reuses")


@contract("cow.old-frame-released", catches=("cow-keeps-old-ref",))
@given(program=drawn(containing=(Fork, Store)))
def test_a_copy_releases_the_old_frame(guest: Guest, program: Program) -> None:
    """After a copy the old frame has lost exactly one reference."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.old-frame-released")


@contract("cow.no-writable-shared", catches=("fork-keeps-writable", "cow-shares", "mprotect-grants-shared-write"))
@given(
    program=drawn(
        PARENT_STORES_AFTER_FORK,
        CHILD_STORES_AFTER_FORK,
        CHILD_STORES_AFTER_A_ROUND_TRIP,
        containing=(Fork, Store, Load),
    )
)
def test_a_shared_frame_is_writable_for_nobody(guest: Guest, program: Program) -> None:
    """No private frame with two holders is writable anywhere."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.no-writable-shared")


@contract("cow.one-fault-per-first-write", catches=("two-faults-per-write",))
@given(program=drawn(containing=(Fork, Store)))
def test_a_first_write_takes_one_fault(guest: Guest, program: Program) -> None:
    """A first touch takes one fault, and a touch of memory that is there takes none."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cow.one-fault-per-first-write")


@contract("frame.stays", catches=("mprotect-moves-pages",))
@given(
    program=drawn(
        """
        p0: map a 3 rw private anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        observe
        p0: protect a[0..1] r
        p0: load a[0]
        p0: fork p1
        p1: protect a[1] rw
        p1: exit 0
        p0: protect a[0] rw
        p0: load a[1]
        """,
        containing=(Store, Observe),
    )
)
def test_a_page_keeps_its_frame(guest: Guest, program: Program) -> None:
    """A page keeps its frame until it is written while shared, unmapped, or replaced by exec."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="frame.stays")
