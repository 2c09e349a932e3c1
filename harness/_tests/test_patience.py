"""Who is waited for: what a definition says, what boot shows, and what shows later."""

from __future__ import annotations

from harness.guest.definition_values import Quiescence
from harness.patience import EVERY, MUCH_TO_TEAR_DOWN, Patience
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Trace
from harness.subject import How

PROBED = Quiescence(bound_ms=500, probe=True)
SOME = [parse_program(f"p0: exit {status}") for status in range(200)]


def said(*, late: bool) -> Trace:
    return Trace(outcomes=(), is_late=late)


def test_a_definition_that_says_so_is_obeyed() -> None:
    late, quiet = Patience(Quiescence(bound_ms=500)), Patience(Quiescence())

    assert all(late.wants_wait(program) for program in SOME)
    assert not any(quiet.wants_wait(program) for program in SOME)
    assert not late.is_hasty
    assert not quiet.is_hasty


def test_boot_programs_wait_and_the_first_that_shows_lateness_is_the_last() -> None:
    ran: list[How] = []

    def execute(_program: Program, how: How) -> Trace:
        ran.append(how)
        return said(late=len(ran) == 2)

    patience = Patience(PROBED)
    patience.probe(execute)

    assert [how.patient for how in ran] == [True, True]
    assert patience.is_late
    assert "late" in patience.note


def test_a_kernel_that_is_quiet_at_boot_is_looked_at_at_once_but_for_some_programs_which_are_always_the_same() -> None:
    patience = Patience(PROBED)
    patience.probe(lambda _program, _how: said(late=False))

    waited_for = [program for program in SOME if patience.wants_wait(program)]

    assert patience.is_hasty
    assert len(SOME) / EVERY / 3 < len(waited_for) < len(SOME) / EVERY * 3
    assert waited_for == [program for program in SOME if Patience(PROBED).wants_wait(program)]


def test_lateness_that_shows_on_the_way_counts_to_the_end() -> None:
    patience = Patience(PROBED)
    patience.heed(said(late=True))
    patience.heed(said(late=False))

    assert all(patience.wants_wait(program) for program in SOME)


def test_the_programs_of_boot_leave_processes_behind_that_have_ended() -> None:
    assert all(program.processes > 1 for program in MUCH_TO_TEAR_DOWN)
