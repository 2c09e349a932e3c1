"""How long frames that nobody should have any more are waited for from outside: as long as a definition says."""

from __future__ import annotations

from collections.abc import Iterable

from harness.guest.definition_values import Quiescence
from harness.outside import wait_as_long_as


def pauses(late: Quiescence, left: Iterable[int]) -> list[float]:
    """Give the pauses, in seconds, of a wait that is told these numbers until it is over."""
    slept: list[float] = []
    wait = wait_as_long_as(late, sleep=slept.append)
    for number in left:
        if not wait(number):
            break
    return slept


def test_a_kernel_that_is_never_late_is_not_waited_for() -> None:
    assert pauses(Quiescence(bound_ms=0), [3] * 9) == []


def test_it_looks_as_often_as_the_definition_says_and_no_longer() -> None:
    assert pauses(Quiescence(interval_ms=20, bound_ms=100), [3] * 99) == [0.02] * 5


def test_a_kernel_that_gets_on_has_all_its_time_again() -> None:
    assert len(pauses(Quiescence(interval_ms=10, bound_ms=50), [3, 3, 3, 2, *[2] * 99])) == 3 + 5


def test_but_not_one_that_only_gets_back() -> None:
    assert len(pauses(Quiescence(interval_ms=10, bound_ms=50), [2, 3, 2, 3, *[2] * 99])) == 5
