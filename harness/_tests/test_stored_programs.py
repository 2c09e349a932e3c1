"""The stored programs: each says why it is there, conforms on a sound kernel, and shows the fault that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guests import semantics_of
from harness.model.invariants import broken
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.step import step
from harness.model_guest import FAULTS, ModelGuest
from harness.model_guest.features import Feature
from harness.program.text import format_program, parse_program
from harness.report.store import Failure, read_failure
from harness.runner import Runner
from harness.subject import How

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "programs"
FILES = sorted(FOLDER.glob("*.prog"))
NIGHTLY = sorted((FOLDER / "nightly").glob("*.prog"))
"""Programs that take seconds each, which contracts run in long runs alone."""
GALLERY = [path for path in (*FILES, *NIGHTLY) if read_failure(path).faults]

SPARSE = How(count_faults=True, accounting=True)
DENSE = How(dense=True, count_faults=True, accounting=True)

every_program = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_program_with_a_fault = pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)


def runner(*faults: str) -> Runner:
    guest = ModelGuest(faults)
    return Runner(guest, semantics_of(guest))


def only_fault(failure: Failure) -> str:
    (fault,) = failure.faults
    return fault


@every_program
def test_a_stored_program_is_written_as_the_formatter_writes_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert format_program(parse_program(text)) == text


@every_program
def test_the_first_line_of_a_stored_program_says_why_it_is_there(path: Path) -> None:
    reason = path.read_text(encoding="utf-8").splitlines()[0]

    assert reason.startswith("# ")
    assert reason.endswith(".")
    assert len(reason.split()) > 5


@every_program
@pytest.mark.parametrize("how", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_a_stored_program_conforms_on_the_sound_kernel(path: Path, how: How) -> None:
    program = read_failure(path).program

    verdict = runner().run_sequence([program], how)

    assert verdict.divergences == ()


@every_program
@pytest.mark.parametrize("how", [SPARSE, DENSE], ids=["sparse", "dense"])
@pytest.mark.parametrize("features", [(Feature.PREFAULT,), (Feature.PREFAULT, Feature.SWAP)], ids=["", "and-swaps"])
def test_a_stored_program_conforms_on_a_sound_kernel_that_prefaults(
    path: Path, how: How, features: tuple[Feature, ...]
) -> None:
    guest = ModelGuest(features=features)

    verdict = Runner(guest, semantics_of(guest)).run_sequence([read_failure(path).program], how)

    assert verdict.divergences == ()


@every_program
def test_a_stored_program_conforms_where_nothing_is_known_of_the_kernel(path: Path) -> None:
    verdict = Runner(ModelGuest(), PRESETS["any-kernel"]).run_sequence([read_failure(path).program], DENSE)

    assert verdict.divergences == ()


@every_program
@pytest.mark.parametrize("semantics", PRESETS)
def test_the_invariants_hold_after_each_step_of_a_stored_program(path: Path, semantics: str) -> None:
    machine = Machine(PRESETS[semantics])

    wrong = []
    for op in read_failure(path).program.steps:
        step(machine, op)
        wrong.append(broken(machine))

    assert not any(wrong)


@every_program_with_a_fault
def test_a_program_of_the_gallery_breaks_its_contract_under_its_fault(path: Path) -> None:
    failure = read_failure(path)

    verdict = runner(*failure.faults).run_sequence(failure.programs, failure.how)

    assert failure.contract in verdict.contracts


@every_program_with_a_fault
def test_a_program_of_the_gallery_replays_on_the_guest_that_has_the_fault(path: Path) -> None:
    failure = read_failure(path)

    assert failure.guest == ModelGuest.name
    assert len(failure.faults) == 1


@every_program_with_a_fault
def test_a_program_is_named_after_its_fault_unless_it_tells_a_story(path: Path) -> None:
    fault = only_fault(read_failure(path))

    assert path.stem == f"fault-{fault}" or path.stem.startswith("seed-")


def test_each_fault_has_one_program_that_shows_it() -> None:
    shown = sorted(only_fault(read_failure(path)) for path in GALLERY)

    assert shown == sorted(FAULTS)
