"""Nothing is lost, and nothing is left behind."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Store
from harness.program.program import Program


@contract("conserve.frames", catches=("dec-only-teardown", "no-vm-drop"))
@given(program=drawn(containing=(Store,)))
def test_every_frame_comes_back(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, every frame it had is free or in the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.frames")
