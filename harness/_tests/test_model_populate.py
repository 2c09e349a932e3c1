"""MAP_POPULATE: which pages come with the mapping, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.frame import FrameKind
from harness.model.machine import Machine
from harness.model.presets import LINUX_6_1, PRESETS
from harness.model.semantics import Semantics
from harness.model.step import step
from harness.program.outcome import Done
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME


def populated(text: str, semantics: Semantics = LINUX_6_1) -> list[FrameKind | None]:
    """Do the steps; give whose frame each of the first three pages of window a has."""
    machine = Machine(semantics)
    outcomes = [step(machine, op).outcomes for op in parse_program(text).steps]
    assert outcomes[-1] == (Done(),)
    first = WINDOW_BY_NAME["a"].vpn
    found = (machine.process(0).memory.page_table.lookup(vpn) for vpn in range(first, first + 3))
    return [None if pte is None else pte.frame.kind for pte in found]


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("rw private anon", FrameKind.ANON),
        ("w private anon", FrameKind.ANON),
        ("rw private f", FrameKind.ANON),
        ("rw private stack", FrameKind.ANON),
        ("r private anon", FrameKind.ZERO),
        ("rx private anon", FrameKind.ZERO),
        ("r private f", FrameKind.CACHE),
        ("rw shared f", FrameKind.CACHE),
        ("w shared anon", FrameKind.CACHE),
        ("none private anon", None),
        ("none shared f", None),
    ],
)
def test_private_memory_that_may_be_written_is_stored_to_and_other_loaded(what: str, kind: FrameKind | None) -> None:
    assert populated(f"p0: map a 2 {what} fixed populate") == [kind, kind, None]


def test_it_ends_behind_the_file_and_nobody_is_told() -> None:
    assert populated("p0: truncate f 100\np0: map a 3 r private f fixed populate") == [FrameKind.CACHE, None, None]


def test_what_is_replaced_is_populated_anew() -> None:
    assert populated("p0: map a 3 r private f\np0: map a[1] rw private anon fixed populate") == [None, FrameKind.ANON, None]


def test_memory_that_a_protection_key_forbids_is_left_out() -> None:
    by_key = replace(LINUX_6_1, exec_implies_read=False, exec_only_by_key=True)

    assert populated("p0: map a 1 x private anon fixed populate", by_key) == [None, None, None]


def test_a_kernel_of_which_nothing_is_known_may_leave_it() -> None:
    assert populated("p0: map a 1 rw private anon fixed populate", PRESETS["any-kernel"]) == [None, None, None]
