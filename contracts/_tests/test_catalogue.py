"""The contracts' tests, the catalogue and the planted faults belong together."""

from __future__ import annotations

import ast
import importlib
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import contracts
from harness.compare.catalogue import CONTRACTS, Contract
from harness.model_guest import FAULTS

WITHOUT_TEST: dict[str, str] = {}
"""Contracts that no test is about, with the reason; a divergence may name them all the same."""

UNCAUGHT: dict[str, str] = {}
"""Faults that no contract must catch, with the reason."""

PROMISED = """
fork.parent-store-private fork.child-store-private fork.generations fork.shared-stays-shared fork.file-private
fork.inherits-vmas fork.dontfork fork.wipeonfork fork.failed-is-no-op vfork.shares-and-suspends clone-vm.shares
zero.page-stays-zero zero.fresh-memory count.equals-references count.mapcount count.no-inflation count.many-sharers
cow.break-copies-all cow.sole-owner-reuses cow.old-frame-released cow.no-writable-shared cow.pinned-is-not-exclusive
cow.one-fault-per-first-write kernel-write.breaks-cow kernel-write.respects-protection kernel-write.exact-bytes
foll-force.private-only exit.drops-all exec.drops-all exec.image-intact cache.outlives-mappers
cache.private-write-stays-out tables.no-double-free conserve.frames conserve.process wait.status mmap.geometry
mmap.fixed-replaces munmap.exact mprotect.last-one-counts mprotect.never-breaks-isolation fault.signal
mremap.preserves madvise.dontneed brk.exact stack.grows file.shared-coherent file.private-offset errno.table
tlb.no-stale prefault.transparent prefault.budget batch.distinct-zeroed alloc.never-twice live.no-panic live.bounded
live.usable-after
"""
"""The contracts that the project set out to have. Each has its test, or stands in `WITHOUT_TEST` with why not."""

PROMISED_FAULTS = """
no-vm-drop free-cached-pages dec-only-teardown exec-teardown-frees-live-tables double-free-root ghost-fork
eager-prefault leak-page-tables fork-keeps-writable fork-forgets-ref fork-skips-prot-none cow-shares cow-copies-part
cow-keeps-old-ref sole-owner-stays-readonly sole-owner-always-copies two-faults-per-write refork-readonly
mprotect-grants-shared-write mprotect-keeps-cow-right mprotect-loops remap-resets-count kernel-write-ignores-cow
kernel-write-overruns shared-becomes-private shared-untouched-not-shared file-private-not-cow cache-poisoned
split-loses-offset munmap-keeps-tlb munmap-frees-shared count-u8 batch-hands-out-twice batch-not-zeroed
dontneed-ignored failed-fork-leaks wait-status-wrong vfork-does-not-suspend
"""
"""The faults that it set out to catch: the history of one young kernel, and what happened in public ones."""

Marked = tuple[str, Callable[..., None], pytest.Mark]


def _marked() -> Iterator[Marked]:
    folder = Path(contracts.__file__).parent
    for file in sorted(folder.glob("test_*.py")):
        module = importlib.import_module(f"contracts.{file.stem}")
        for name, function in vars(module).items():
            for mark in getattr(function, "pytestmark", []):
                if name.startswith("test_") and mark.name == "contract":
                    yield name, function, mark


MARKED = list(_marked())


def _entry(mark: pytest.Mark) -> Contract:
    entry: Contract = mark.args[0]
    return entry


def _capital(sentence: str) -> str:
    """A docstring begins with a capital, though a system call's name does not."""
    return sentence[:1].upper() + sentence[1:]


@pytest.mark.parametrize(("name", "function", "mark"), MARKED, ids=[name for name, _, _ in MARKED])
def test_a_contracts_docstring_is_its_sentence(name: str, function: Any, mark: pytest.Mark) -> None:
    assert " ".join((function.__doc__ or "").split()) == _capital(_entry(mark).sentence)


def test_every_contract_has_a_test_or_a_reason() -> None:
    tested = {_entry(mark).id for _, _, mark in MARKED}

    assert set(CONTRACTS) - tested == set(WITHOUT_TEST)


def test_every_contract_and_fault_that_was_promised_is_there() -> None:
    assert set(CONTRACTS) >= set(PROMISED.split())
    assert set(FAULTS) >= set(PROMISED_FAULTS.split())


def test_every_contract_carries_its_level_as_a_marker() -> None:
    for name, function, mark in MARKED:
        marks = {each.name for each in function.pytestmark}  # type: ignore[attr-defined]
        assert str(_entry(mark).level) in marks, name


def test_contracts_that_must_catch_a_fault_name_one_that_exists() -> None:
    for name, _, mark in MARKED:
        assert set(mark.kwargs["catches"]) <= set(FAULTS), name


def test_every_fault_must_be_caught_by_a_contract_or_has_a_reason() -> None:
    named = {fault for _, _, mark in MARKED for fault in mark.kwargs["catches"]}

    assert set(FAULTS) - named == set(UNCAUGHT)


def test_faults_name_contracts_of_the_catalogue() -> None:
    for fault in FAULTS.values():
        assert set(fault.contracts) <= set(CONTRACTS), fault.name


def test_names_are_stable_words() -> None:
    for id, entry in CONTRACTS.items():
        assert id == entry.id
        assert id == id.lower()
        assert id.count(".") == 1
        assert entry.sentence.endswith(".")
    assert len({name for name, _, _ in MARKED}) == len(MARKED)


def test_no_story_is_written_down_twice() -> None:
    told = Counter[str]()
    for path in Path(contracts.__file__).parent.glob("test_*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        told.update(
            textwrap.dedent(story.value).strip()
            for call in calls
            if getattr(call.func, "id", "") == "drawn"
            for story in call.args
            if isinstance(story, ast.Constant) and isinstance(story.value, str)
        )

    assert told
    assert [story for story, count in told.items() if count > 1] == []
