"""The general property: any program at all, held to every contract at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.program import Program
from harness.program.text import parse_program
from strategies.tour import grand_tour, tours

SHARDS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""One for each worker, so that each draws programs of its own."""


@pytest.mark.parametrize("shard", range(SHARDS))
@contract("any.program")
@given(program=drawn())
def test_any_program_conforms(guest: Guest, program: Program, shard: int) -> None:  # noqa: ARG001
    """Whatever a program does, the kernel keeps every contract that the guest can show."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="any.program")


@contract("any.program")
@given(program=tours())
def test_every_situation_conforms(guest: Guest, program: Program) -> None:
    """Whatever a program does, the kernel keeps every contract that the guest can show."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="any.program")


@pytest.mark.long_run
@contract("any.program")
def test_every_situation_there_is_conforms(guest: Guest, pytestconfig: pytest.Config) -> None:
    """Whatever a program does, the kernel keeps every contract that the guest can show."""
    for program in grand_tour(str(pytestconfig.getoption("--seed"))):
        verdict = guest.run(program)

        assert_conforms(verdict, to="any.program")


@pytest.mark.program_file
@contract("any.program")
def test_the_program_of_the_command_line(guest: Guest, pytestconfig: pytest.Config) -> None:
    """Whatever a program does, the kernel keeps every contract that the guest can show."""
    path = Path(pytestconfig.getoption("--program"))
    program = parse_program(path.read_text(encoding="utf-8"), source=str(path))

    verdict = guest.run(program)

    assert_conforms(verdict, to="any.program")
