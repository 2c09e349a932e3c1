"""What `bench` measures of looking: messages over the console or through the mailbox, and looks from inside or outside.

The same programs run in every way, by turns, so that all of them meet the same moments of a machine that others use.
Drawing and comparing are left out: they cost the same in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from harness.commands.bench_machine import timed
from harness.commands.bench_table import Measurement, Target
from harness.guest.definition import GuestDefinition
from harness.guest.session import Session
from harness.guests import MachineSubject
from harness.introspect.view import Cost
from harness.program.abilities import within
from harness.program.program import Program
from harness.subject import How

ROUNDS = 5
PROGRAMS = 20
"""Programs of a round: few, so that the turns are short."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run and look. `console`: without the mailbox."""

    name: str
    how: How
    console: bool = False


SPARSE = Way("looks at the end, mailbox", How())
OUTSIDE = Way("looks after every step, outside", How(dense=True, outside=True))
WAYS = (
    Way("looks at the end, console", How(), console=True),
    SPARSE,
    Way("looks after every step, inside", How(dense=True)),
    Way("the same, with the bits of entries", How(dense=True, pte_bits=True)),
    OUTSIDE,
)


def measure_views(definition: GuestDefinition, programs: Sequence[Program]) -> list[Measurement]:
    """Measure every way. Raises what opening the guest raises."""
    with (
        closing(MachineSubject(Session(definition))) as subject,
        closing(MachineSubject(Session(replace(definition, mailbox=False)))) as by_console,
    ):
        if subject.observer is None:
            return []
        able = [within(program, subject.lacking.keys()) for program in programs[: PROGRAMS * (ROUNDS + 1)]]
        rounds = [able[at : at + PROGRAMS] for at in range(0, len(able), PROGRAMS)]
        rates: dict[Way, list[float]] = {way: [] for way in WAYS}
        looks: list[float] = []
        for number, each in enumerate(rounds):
            for way in WAYS:
                subject.observer.cost = Cost()
                rate = _rate(by_console if way.console else subject, each, way.how)
                if number:  # in the first, QEMU translates what it has not met yet
                    rates[way].append(rate)
                if number and way is OUTSIDE and subject.observer.cost.processes:
                    looks.append(1000 * subject.observer.cost.seconds / subject.observer.cost.processes)
    return view_measurements(rates, looks)


def view_measurements(rates: dict[Way, list[float]], looks: Sequence[float]) -> list[Measurement]:
    """Make measurements of the rates (programs/s) of each way, and of what a look took (ms a process)."""
    ratios = tuple(dense / sparse for dense, sparse in zip(rates[OUTSIDE], rates[SPARSE], strict=True))
    return [
        *(Measurement(way.name, "programs/s", tuple(each)) for way, each in rates.items()),
        Measurement("after every step, outside, to end", "", ratios, Target(1.0, at_least=True)),
        Measurement("a look from outside", "ms a process", tuple(looks), Target(0.3, at_least=False)),
    ]


def _rate(subject: MachineSubject, programs: Sequence[Program], how: How) -> float:
    return len(programs) / timed(lambda: [subject.execute(program, how) for program in programs])
