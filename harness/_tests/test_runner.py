"""The runner: what becomes of a finding, what it remembers, and what it counts; on subjects that misbehave to order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from harness.compare.verdict import Verdict
from harness.errors import ProtocolError
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.levels import Level
from harness.program.outcome import Loaded
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.runner import MAX_HISTORY, Runner
from harness.subject import How

VICTIM = parse_program("p0: load data[0]")
POISON = parse_program("p0: store data[0] 0x77")
Diverges = Callable[[Program, list[Program]], bool]
"""Whether a program diverges, given those that ran since the last restore."""


def harmless(number: int) -> Program:
    return parse_program(f"p0: exit {number % 256}\n" + "observe\n" * (number // 256))


@dataclass
class Subject:
    """The toy kernel, but a program diverges when `diverges` says so."""

    diverges: Diverges
    name: str = "fake"
    semantics: str = "model"
    levels: frozenset[Level] = frozenset({Level.OUTCOMES})
    since_restore: list[Program] = field(default_factory=list)
    ran: list[Program] = field(default_factory=list)
    hows: list[How] = field(default_factory=list)
    restores: int = 0
    closed: int = 0
    ending: Ending | None = None
    """How every program ends that diverges, where it is not a wrong answer."""
    is_starved: bool = False
    """Whether the host gives it little time: what is unhurried does not diverge then, but for what is in `wrong`."""
    wrong: tuple[Program, ...] = ()

    def execute(self, program: Program, how: How) -> Trace:
        wrong = self.diverges(program, self.since_restore)
        wrong = wrong and not (self.is_starved and how.unhurried and program not in self.wrong)
        self.since_restore.append(program)
        self.ran.append(program)
        self.hows.append(how)
        if wrong and self.ending is not None:
            return Trace((), ending=self.ending, is_starved=self.is_starved)
        trace = ModelGuest().execute(program, how)
        return replace(trace, outcomes=(Loaded(0x55), *trace.outcomes[1:])) if wrong else trace

    def restore(self) -> None:
        self.restores += 1
        self.since_restore.clear()

    def close(self) -> None:
        self.closed += 1

    def header(self) -> list[str]:
        return []


def never(program: Program, before: list[Program]) -> bool:
    return False


def always(program: Program, before: list[Program]) -> bool:
    return program == VICTIM


def after_poison(program: Program, before: list[Program]) -> bool:
    return program == VICTIM and POISON in before


def once() -> Diverges:
    left = [True]
    return lambda program, _: program == VICTIM and bool(left) and left.pop()


def runner_of(diverges: Diverges) -> tuple[Runner, Subject]:
    subject = Subject(diverges)
    return Runner(subject, PRESETS["model"]), subject


# ---------------------------------------------------------------------------------- findings


def test_programs_that_conform_run_once_and_need_no_restore() -> None:
    runner, subject = runner_of(never)

    verdicts = [runner.run(harmless(number)) for number in range(5)]

    assert all(verdict.conforms for verdict in verdicts)
    assert (len(subject.ran), subject.restores) == (5, 0)


def test_a_first_program_that_diverges_stands_alone_and_the_guest_is_restored() -> None:
    runner, subject = runner_of(always)

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert (verdict.after, verdict.reproduced) == ((), True)
    assert subject.restores == 1
    assert subject.since_restore == []


def test_a_program_that_diverges_on_a_restored_guest_too_needs_nothing_before_it() -> None:
    runner, subject = runner_of(always)
    runner.run(harmless(1))

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert (verdict.after, verdict.reproduced) == ((), True)
    assert subject.ran == [harmless(1), VICTIM, VICTIM]
    assert subject.since_restore == []


@pytest.mark.parametrize("ending", [Ending.HUNG, Ending.STUCK])
def test_a_guest_that_was_seen_to_hang_gets_less_time_until_the_next_search(ending: Ending) -> None:
    runner, subject = runner_of(lambda program, before: True)
    subject.ending = ending
    runner.begin()

    runner.run(harmless(1))
    given_at_first = [how.hasty for how in subject.hows]
    runner.run(harmless(2))
    given_then = [how.hasty for how in subject.hows[len(given_at_first) :]]
    runner.begin()
    runner.run(harmless(3))

    assert not any(given_at_first)
    assert given_then
    assert all(given_then)
    assert not subject.hows[-1].hasty
    assert runner.run(harmless(2)).trace.ending is ending


@pytest.mark.parametrize("before", [(), (harmless(1), harmless(2))])
def test_what_does_not_end_on_a_starved_machine_gets_all_the_time_that_it_may_take(before: tuple[Program, ...]) -> None:
    runner, subject = runner_of(always)
    subject.ending, subject.is_starved = Ending.STUCK, True
    heard: list[Verdict] = []
    runner.listeners.append(heard.append)
    for program in before:
        runner.run(program)

    verdict = runner.run(VICTIM)

    assert (verdict.conforms, heard) == (True, [])
    assert subject.ran[len(before) + 1 :] == [VICTIM, *before, VICTIM] if before else [VICTIM]
    assert subject.since_restore == []


@pytest.mark.parametrize("diverges", [always, after_poison])
def test_what_does_not_end_with_all_that_time_is_a_finding(diverges: Diverges) -> None:
    runner, subject = runner_of(diverges)
    subject.ending, subject.is_starved, subject.wrong = Ending.STUCK, True, (VICTIM,)
    for program in (harmless(1), POISON, harmless(2)):
        runner.run(program)

    verdict = runner.run(VICTIM)

    assert (verdict.conforms, verdict.reproduced) == (False, True)
    assert verdict.after == ((POISON, harmless(2)) if diverges is after_poison else ())


@pytest.mark.parametrize("behind", [0, 1, 2, 5, 12])
def test_a_program_that_diverges_after_another_carries_it(behind: int) -> None:
    runner, subject = runner_of(after_poison)
    history = [harmless(1), harmless(2), POISON, *(harmless(10 + number) for number in range(behind))]
    for program in history:
        runner.run(program)

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert verdict.reproduced
    assert POISON in verdict.after
    assert tuple(history[-len(verdict.after) :]) == verdict.after
    assert len(verdict.after) <= 2 * (behind + 1)
    assert subject.since_restore == []


def test_as_little_as_possible_is_carried_where_the_last_one_did_it() -> None:
    runner, _ = runner_of(after_poison)
    for program in (harmless(1), harmless(2), POISON):
        runner.run(program)

    assert runner.run(VICTIM).after == (POISON,)


def test_what_is_never_seen_again_is_reported_as_not_reproduced() -> None:
    runner, subject = runner_of(once())
    runner.run(harmless(1))

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert (verdict.after, verdict.reproduced) == ((), False)
    assert subject.since_restore == []


@pytest.mark.parametrize("diverges", [after_poison, once()], ids=["with a history", "once"])
def test_asking_again_gives_the_same_answer_without_running(diverges: Diverges) -> None:
    runner, subject = runner_of(diverges)
    runner.run(POISON)
    first = runner.run(VICTIM)
    ran = len(subject.ran)

    again = runner.run(VICTIM)

    assert again is first
    assert len(subject.ran) == ran


def test_a_finding_that_stands_alone_is_a_finding_whenever_it_is_asked_for() -> None:
    runner, subject = runner_of(always)

    verdicts = [runner.run(VICTIM) for _ in range(3)]

    assert not any(verdict.conforms for verdict in verdicts)
    assert subject.since_restore == []


def test_listeners_hear_of_findings_and_of_nothing_else() -> None:
    runner, _ = runner_of(always)
    heard: list[Verdict] = []
    runner.listeners.append(heard.append)

    runner.run(harmless(1))
    verdict = runner.run(VICTIM)

    assert heard == [verdict]


def test_what_ran_before_a_restore_is_not_blamed() -> None:
    runner, _ = runner_of(after_poison)
    runner.run(POISON)
    runner.restore()

    assert runner.run(VICTIM).conforms


def test_the_guest_is_restored_before_its_history_gets_too_long() -> None:
    runner, subject = runner_of(never)

    for number in range(MAX_HISTORY + 1):
        runner.run(harmless(number))

    assert subject.restores == 1
    assert len(subject.since_restore) == 1


def test_trouble_of_ours_is_no_finding() -> None:
    class Broken(Subject):
        def execute(self, program: Program, how: How) -> Trace:
            raise ProtocolError("nonsense")

    runner = Runner(Broken(never), PRESETS["model"])

    with pytest.raises(ProtocolError):
        runner.run(VICTIM)
    assert runner.statistics.findings == 0


# ---------------------------------------------------------------------------------- how


def test_what_is_looked_at_is_what_was_asked_for_also_when_a_finding_is_confirmed() -> None:
    runner, subject = runner_of(always)
    runner.run(harmless(1), How(count_faults=True, accounting=True))

    runner.run(VICTIM, How(count_faults=True, accounting=True))

    assert set(subject.hows) == {How(count_faults=True, accounting=True)}


def test_a_finding_is_explained_with_a_look_after_every_step() -> None:
    runner, subject = runner_of(after_poison)
    runner.run(POISON)
    verdict = runner.run(VICTIM)
    before = len(subject.ran)

    explained = runner.explain(verdict)

    assert not explained.conforms
    assert subject.ran[before:] == [POISON, VICTIM]
    assert set(subject.hows[before:]) == {How(dense=True, pte_bits=True, accounting=True, patient=True)}
    assert subject.since_restore == []


def test_a_sequence_starts_from_a_pristine_guest_and_stops_at_its_first_divergence() -> None:
    runner, subject = runner_of(always)
    runner.run(POISON)

    verdict = runner.run_sequence([harmless(1), VICTIM, harmless(2)])

    assert verdict.program == VICTIM
    assert verdict.after == (harmless(1),)
    assert subject.ran == [POISON, harmless(1), VICTIM]


def test_a_sequence_that_conforms_gives_the_last_verdict() -> None:
    runner, _ = runner_of(never)

    verdict = runner.run_sequence([harmless(1), harmless(2)])

    assert verdict.conforms
    assert verdict.program == harmless(2)


# ---------------------------------------------------------------------------------- numbers


def test_programs_steps_processes_and_findings_are_counted() -> None:
    runner, subject = runner_of(always)
    runner.run(parse_program("p0: fork p1\np0: fork p2\np1: exit 0"))
    runner.run(VICTIM)

    numbers = runner.statistics

    assert (numbers.programs, numbers.steps, numbers.processes, numbers.findings) == (2, 4, 4, 1)
    assert numbers.restores == subject.restores
    assert (numbers.reach["fork"], numbers.reach["exit"]) == (2, 1)


def test_closing_the_runner_closes_the_subject() -> None:
    runner, subject = runner_of(never)

    runner.close()

    assert subject.closed == 1


# ---------------------------------------------------------------------------------- what a program leaves


def test_what_diverges_after_a_program_only_is_blamed_on_what_that_has_left() -> None:
    runner, subject = runner_of(after_poison)

    verdict = runner.run(POISON, then=VICTIM)

    assert verdict.after == (POISON,)
    assert verdict.breaks("live.usable-after")
    assert runner.run(POISON, then=VICTIM) is verdict
    assert subject.since_restore == [POISON]


def test_what_diverges_by_itself_says_nothing_of_the_program_before_it() -> None:
    runner, _ = runner_of(always)

    verdict = runner.run(POISON, then=VICTIM)

    assert not verdict.conforms
    assert not verdict.breaks("live.usable-after")


def test_what_is_to_run_after_a_program_that_diverges_does_not_run() -> None:
    runner, subject = runner_of(always)

    verdict = runner.run(VICTIM, then=POISON)

    assert (verdict.program, verdict.after) == (VICTIM, ())
    assert POISON not in subject.ran


def test_a_program_that_conforms_elsewhere_is_still_found_to_diverge_after_another() -> None:
    runner, _ = runner_of(after_poison)
    assert runner.run(VICTIM).conforms

    verdict = runner.run(POISON, then=VICTIM)

    assert verdict.after == (POISON,)


# ---------------------------------------------------------------------------------- kernels that may be late


@dataclass
class HastySubject(Subject):
    """A kernel of which nobody knows whether it has to be waited for; `late` diverges where nobody waits."""

    late: bool = True
    is_hasty: bool = True

    def execute(self, program: Program, how: How) -> Trace:
        trace = super().execute(program, how)
        is_early = self.late and program == VICTIM and self.is_hasty and not how.patient
        return replace(trace, outcomes=(Loaded(0x55), *trace.outcomes[1:])) if is_early else trace

    def wait_from_now_on(self) -> None:
        self.is_hasty = False


def test_what_only_haste_showed_was_no_quiet_point_and_the_kernel_is_waited_for_from_then_on() -> None:
    subject = HastySubject(never)
    runner = Runner(subject, PRESETS["model"])

    verdicts = [runner.run(harmless(1)), runner.run(VICTIM), runner.run(VICTIM)]

    assert all(verdict.conforms for verdict in verdicts)
    assert not subject.is_hasty
    assert runner.statistics.is_late
    assert runner.statistics.findings == 0


@dataclass
class SometimesHasty(HastySubject):
    """One whose looks come too early by chance: those of `early`, counted from 1."""

    early: tuple[int, ...] = ()

    def execute(self, program: Program, how: How) -> Trace:
        self.late = len(self.hows) + 1 in self.early
        return super().execute(program, how)


def test_what_haste_showed_and_did_not_show_again_at_once_is_looked_for_some_times_more() -> None:
    for later in (3, 5, 7):
        subject = SometimesHasty(never, early=(1, later))
        runner = Runner(subject, PRESETS["model"])

        assert runner.run(VICTIM).conforms
        assert not subject.is_hasty
        assert runner.statistics.is_late


def test_what_is_wrong_with_the_wait_too_is_a_finding_and_tells_nothing_of_lateness() -> None:
    subject = HastySubject(always, late=False)
    runner = Runner(subject, PRESETS["model"])

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert subject.is_hasty
    assert subject.hows[-1].patient


def test_a_finding_that_is_not_seen_again_says_nothing_of_lateness_either() -> None:
    subject = HastySubject(once(), late=False)
    runner = Runner(subject, PRESETS["model"])

    verdict = runner.run(VICTIM)

    assert not verdict.conforms
    assert not verdict.reproduced
    assert subject.is_hasty
