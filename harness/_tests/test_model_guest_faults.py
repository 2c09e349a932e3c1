"""Every planted fault shows: on a program written for it, the trace is not that of the sound kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harness.model_guest
from harness._tests.fault_cases import CASES
from harness._tests.fault_cases.case import Case
from harness.errors import DefinitionError
from harness.model_guest import FAULTS, ModelGuest
from harness.program.outcome import Exited, Faulted, Loaded
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.subject import How

EVERYTHING = How(count_faults=True, accounting=True)


def run(case: Case, *faults: str) -> Trace:
    guest = ModelGuest(faults, total_frames=case.total_frames, features=case.features)
    return guest.execute(parse_program(case.program), EVERYTHING)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_shows_where_its_program_says(name: str) -> None:
    case = CASES[name]

    sound, faulty = run(case), run(case, name)

    assert getattr(faulty, case.shows_in) != getattr(sound, case.shows_in)


def test_no_program_is_kept_for_a_fault_that_is_gone() -> None:
    assert CASES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_the_sound_kernel_runs_the_program_of_a_fault_to_a_clean_end(name: str) -> None:
    trace = run(CASES[name])

    assert (trace.ending, trace.leftover, trace.after) == (Ending.COMPLETE, {}, trace.before)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_no_trace_behind_a_restore(name: str) -> None:
    guest = ModelGuest([name], total_frames=CASES[name].total_frames)
    program = parse_program(CASES[name].program)

    first = guest.execute(program, EVERYTHING)
    guest.restore()
    second = guest.execute(program, EVERYTHING)

    assert second == first


def test_a_kernel_fails_one_decision_per_fault() -> None:
    package = Path(harness.model_guest.__file__).parent
    source = "".join(path.read_text() for path in package.glob("*.py"))
    decided = re.findall(r'(?:has\(|ignored=)"([\w-]+)"|"([\w-]+)" (?:not )?in self.planted', source)

    names = [first or second for first, second in decided]

    assert {name: names.count(name) for name in FAULTS} == dict.fromkeys(FAULTS, 1)
    assert set(names) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_the_contracts_that_it_breaks_once_each(name: str) -> None:
    contracts = FAULTS[name].contracts

    assert contracts
    assert len(set(contracts)) == len(contracts)


def test_an_unknown_fault_is_refused_with_the_names_that_are_close() -> None:
    with pytest.raises(DefinitionError, match=r"no fault 'cow-share'; did you mean cow-shares.*--list"):
        ModelGuest(["cow-share"])


def test_a_dead_kernel_stays_dead_until_it_is_restored() -> None:
    guest = ModelGuest(["exec-teardown-frees-live-tables"])
    wild = parse_program(
        """
        p0: fork p1
        p0: map a 16 rw private anon
        p1: exec
        p0: fill a[0] 0x11
        p0: fill a[1] 0x11
        p0: fill a[2] 0x11
        p0: fill a[3] 0x11
        p0: fill a[4] 0x11
        p0: fill a[5] 0x11
        p0: fill a[6] 0x11
        p0: fill a[7] 0x11
        p0: fill a[8] 0x11
        p0: fill a[9] 0x11
        p1: load data[0]
        """
    )
    harmless = parse_program("p0: load data[0]")

    panicked = guest.execute(wild, How())
    dead = guest.execute(harmless, How())
    guest.restore()
    alive = guest.execute(harmless, How())

    assert (panicked.ending, dead.ending, alive.ending) == (
        Ending.PANICKED,
        Ending.DIED,
        Ending.COMPLETE,
    )
    assert "is not in memory" in panicked.evidence


def test_a_poisoned_page_cache_stays_poisoned_over_programs() -> None:
    guest = ModelGuest(["cache-poisoned"])
    load = parse_program("p0: load data[0]")

    guest.execute(parse_program("p0: store data[0] 0x22"), How())
    poisoned = guest.execute(load, How())
    guest.restore()
    restored = guest.execute(load, How())

    assert poisoned.outcomes == (Loaded(0x22),)
    assert restored.outcomes == (Loaded(0x80),)


def test_a_stale_translation_lasts_only_until_another_process_runs() -> None:
    guest = ModelGuest(["munmap-keeps-tlb"])
    program = parse_program(
        """
        p0: fork p1
        p0: store bss[0] 0x11
        p0: unmap bss[0]
        p1: load bss[1]
        p0: load bss[0]
        """
    )

    trace = guest.execute(program, How())

    assert isinstance(trace.outcomes[-1], Faulted)


def test_a_wrong_wait_status_says_exit_for_death_by_signal() -> None:
    trace = run(CASES["wait-status-wrong"], "wait-status-wrong")

    assert trace.outcomes[-1] == Exited(11)
