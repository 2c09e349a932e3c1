"""How a contract is written.

::

    @contract("cow.sole-owner-reuses", catches=("no-vm-drop", "sole-owner-always-copies"))
    @given(program=drawn(containing=(Fork, Exit, Store)))
    def test_a_sole_owner_writes_without_a_copy(guest: Guest, program: Program) -> None:
        '''Once every other holder is gone, a store keeps the frame and copies nothing.'''
        verdict = guest.run(program)

        assert_conforms(verdict, to="cow.sole-owner-reuses")

The docstring is the contract's sentence, the same as in `harness.compare.catalogue`. `catches` names the faults that the
contract must find: `python -m harness faults` proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st

from harness.compare.catalogue import CONTRACTS, Contract
from harness.compare.verdict import Verdict
from harness.program.abilities import BASIC, needs
from harness.program.ops import Op
from harness.program.program import Program
from harness.program.text import parse_program
from strategies.around import around
from strategies.programs import programs

Test = TypeVar("Test", bound=Callable[..., None])


class ContractViolation(AssertionError):
    """A guest broke the contract. Its subclasses, one for each id, keep Hypothesis from mixing findings up."""

    def __init__(self, verdict: Verdict, contract: str) -> None:
        self.verdict = verdict
        self.contract = contract
        first = verdict.first(contract if verdict.breaks(contract) else None)
        super().__init__(
            f"{contract}: step {first.step + 1}, {first.where}: expected {first.expected}, observed {first.observed}"
        )


_kinds: dict[str, type[ContractViolation]] = {}


def violation(contract: str) -> type[ContractViolation]:
    """Give the class of the violations of `contract`: Hypothesis tells findings apart by class."""
    if contract not in _kinds:
        _kinds[contract] = type(f"Violation of {contract}", (ContractViolation,), {})
    return _kinds[contract]


ANY = "any.program"
"""The id of the contract that every other contract is part of."""


def is_about(verdict: Verdict, contract: str) -> bool:
    """Tell whether a verdict that does not conform breaks the contract with this id."""
    return contract == ANY or verdict.breaks(contract)


def assert_conforms(verdict: Verdict, *, to: str) -> None:
    """Raise ContractViolation where the guest broke the contract `to`.

    A program that broke another contract says nothing about this one. It is not lost: the guest has reported it to the
    run, which lists it at the end and fails.
    """
    if verdict.conforms or not is_about(verdict, to):
        return
    broken = verdict.divergences[0].contracts[0] if to == ANY else to
    raise violation(broken)(verdict, broken)


def contract(id: str, *, catches: tuple[str, ...] = ()) -> Callable[[Test], Test]:
    """Mark a test as the contract with this id."""
    entry: Contract = CONTRACTS[id]

    def mark(test: Test) -> Test:
        level: pytest.MarkDecorator = getattr(pytest.mark, str(entry.level))
        marked: Test = pytest.mark.contract(entry, catches=catches)(level(test))
        return marked

    return mark


class Drawing:
    """What the options of the run say about programs; set once, before the contracts are imported."""

    max_steps = 30


MANY = 4
"""Of so many stories each would be told too rarely."""


def drawn(*stories: str, **wishes: Any) -> st.SearchStrategy[Program]:
    """Draw programs as `strategies.programs.programs` does, at most as long as `--steps` says.

    With stories (program texts, see `strategies.around`) half of the programs tell one of them, with anything else going on
    between its steps; where there are `MANY` or more it is two thirds, so that each is told often enough.
    """
    strategy = programs(max_steps=Drawing.max_steps, **wishes)
    if stories:
        bounds = {name: wishes[name] for name in ("max_processes", "max_pages") if name in wishes}
        shares = 2 if len(stories) >= MANY else 1
        told = [around(*stories, max_steps=Drawing.max_steps, **bounds) for _ in range(shares)]
        strategy = st.one_of(*told, strategy)
    _needed[id(strategy)] = _needs_of(stories, wishes.get("containing", ()))
    return strategy


PROGRAMS = Path(__file__).parents[1] / "fixtures" / "programs"
"""The stored programs. Those in the folder `nightly` take seconds each, and stand in contracts that are for long runs."""


def stored(name: str) -> Program:
    """Read the stored program with this name, which may name a folder too. Raises ProgramError."""
    path = PROGRAMS / f"{name}.prog"
    return parse_program(path.read_text(encoding="utf-8"), source=str(path))


_needed: dict[int, frozenset[str]] = {}
"""What a kernel must be able to do for the programs of a strategy to be about anything; by the strategy's identity."""


def _needs_of(stories: tuple[str, ...], containing: Iterable[type[Op]]) -> frozenset[str]:
    """Give what every story needs, and every operation that a program shall contain."""
    told = [frozenset().union(*(needs(op) for op in parse_program(story).steps)) for story in stories]
    common = frozenset.intersection(*told) if told else frozenset()
    return common | {op.verb for op in containing if op.verb not in BASIC}


def needed_by(test: object) -> frozenset[str]:
    """Give what a kernel must be able to do for a Hypothesis test to be about anything."""
    given: dict[str, object] = getattr(getattr(test, "hypothesis", None), "_given_kwargs", {})
    return frozenset().union(*(_needed.get(id(strategy), frozenset()) for strategy in given.values()))
