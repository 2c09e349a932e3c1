"""Nothing is lost, and nothing is left behind."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Store
from harness.program.program import Program


@contract(
    "conserve.frames",
    catches=("dec-only-teardown", "no-vm-drop", "cache-keeps-ref-after-truncate", "exit-leaks-shared-memory"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        """,
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        observe
        p0: exec
        p1: exit 0
        """,
        """
        p0: map a 2 rw shared f
        p0: load a[1]
        observe
        p0: truncate f 4096
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        """,
        containing=(Store,),
    )
)
def test_every_frame_comes_back(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, every frame it had is free or in the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.frames")
