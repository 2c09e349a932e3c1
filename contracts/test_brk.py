"""brk: a heap of zeroes, as long as it was asked to be."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Brk, Load, Store
from harness.program.program import Program


@contract(
    "brk.exact",
    catches=(
        "brk-shrink-keeps",
        "brk-runs-over",
        "brk-goes-below-start",
        "brk-inherits-protection",
        "brk-inherits-advice",
        "brk-answers-errno",
        "brk-shrink-takes-more",
    ),
)
@given(
    program=drawn(
        """
        p0: brk heap[2]
        p0: store heap[1] 0x11
        p0: brk heap[1]
        p0: load heap[1]
        p0: brk heap[2]+1
        p0: load heap[1]
        """,
        """
        p0: map heap[1] rw private anon
        p0: store heap[1] 0x11
        p0: brk heap[2]
        p0: load heap[1]
        """,
        """
        p0: brk heap[1]
        p0: store bss[0] 0x11
        p0: brk data[0]+100
        p0: load bss[0]
        p0: store heap[0] 0x22
        """,
        """
        p0: brk heap[1]+1
        p0: fork p1
        p1: brk heap[3]
        p1: store heap[2] 0x11
        p0: load heap[2]
        p1: exec
        p1: load heap[0]
        """,
        """
        p0: brk heap[1]
        p0: advise heap[0] dontfork
        p0: brk heap[2]
        p0: store heap[1] 0x11
        p0: advise heap[1] wipeonfork
        p0: brk heap[3]
        p0: store heap[2] 0x22
        p0: fork p1
        p1: load heap[1]
        p1: load heap[2]
        """,
        """
        p0: brk heap[2]
        p0: protect heap[1] none
        p0: brk heap[4]
        p0: store heap[2] 0x11
        p0: load heap[3]
        """,
        """
        p0: brk heap[2]
        p0: map heap[2] rw private anon
        p0: store heap[2] 0x11
        p0: brk heap[1]
        p0: load heap[2]
        """,
        containing=(Brk, Store, Load),
    )
)
def test_the_heap_is_as_long_as_asked_for(guest: Guest, program: Program) -> None:
    """The heap grows by pages of zeroes, shrinks by dropping them, and never runs over another mapping."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="brk.exact")
