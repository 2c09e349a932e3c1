"""What a kernel cannot do is found out by asking it, and what does less than its name says, where that may be."""

from __future__ import annotations

import pytest

from harness.ability_probe import probe_abilities
from harness.model_guest import ModelGuest
from harness.program.abilities import LESSER
from harness.program.text import format_outcome, parse_program
from harness.subject import How


def probe(*faults: str, may_do_less: bool) -> dict[str, str]:
    guest = ModelGuest(faults)
    return probe_abilities(guest.execute, guest.restore, may_do_less=may_do_less)


def test_a_kernel_that_can_do_all_lacks_nothing() -> None:
    assert probe(may_do_less=True) == {}


def test_a_vfork_that_is_a_fork_is_none_where_that_may_be_and_a_finding_where_it_must_not() -> None:
    """vfork(2): "an implementation where the two are synonymous is compliant"."""
    assert probe("vfork-does-not-suspend", may_do_less=True) == {"vfork": "is a fork, whose parent runs on"}
    assert probe("vfork-copies", may_do_less=True) == {"vfork": "is a fork, whose child has other memory"}
    assert probe("vfork-does-not-suspend", may_do_less=False) == {}


@pytest.mark.parametrize("text", [text for _, text, _ in LESSER])
def test_what_does_all_says_what_the_program_says(text: str) -> None:
    outcome = ModelGuest().execute(parse_program(text), How()).outcomes[-1]

    assert text.endswith(f"=> {format_outcome(outcome)}")
