"""Nothing is lost, and nothing is left behind."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Store
from harness.program.program import Program
from harness.program.text import parse_program


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


ROUNDS = {
    "fork and exit": "p0: fork p1\np1: store data[0] 0x11\np1: exit 0\np0: wait p1",
    "fork, exec and exit": "p0: fork p1\np1: exec\np1: store bss[0] 0x11\np1: exit 0\np0: wait p1",
    "exec": "p0: exec\np0: store data[0] 0x11",
    "death": "p0: fork p1\np1: store bss[0] 0x11\np1: crash load a[0]\np0: wait p1",
    "mappings": "p0: map a 4 rw private anon\np0: store a[3] 0x11\np0: protect a[1..2] r\np0: unmap a[0..3]",
    "files": "p0: map b 2 rw shared f\np0: store b[0] 0x11\np0: map b 2 rw private f\np0: store b[1] 0x22",
}
"""Steps that come back to where they began, so that a hundred rounds of them need no more memory than one."""


@contract("conserve.free-memory", catches=("exec-leaks-frame",))
def test_rounds_of_the_same_steps_cost_no_memory(guest: Guest) -> None:
    """Rounds of the same steps cost less than a frame each: what a round takes from the free memory it gives back."""
    bodies = [body.splitlines() for body in ROUNDS.values()]
    programs = [parse_program("\n".join([f"p0: repeat 100 {len(body)}", *body])) for body in bodies]

    for program in programs:
        verdict = guest.run(program)

        assert_conforms(verdict, to="conserve.free-memory")
