"""What `bench` measures without workers: boot, restore, the model alone, and a run of pytest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from harness.commands.bench_table import Measurement, Target
from harness.commands.children import Children
from harness.commands.fault_runs import Found, Order, run_order
from harness.errors import RigError
from harness.guest.definition import GuestDefinition
from harness.guest.source import QemuSource
from harness.guests import open_subject
from harness.model.machine import Machine
from harness.model.semantics import Semantics
from harness.model.step import step
from harness.program.program import Program
from harness.program.text import parse_program

BOOTS = 3
RESTORES = 10
PASSES = 5
PROGRAMS = 300
PYTEST_RUNS = 3
STREAM_S = 300.0


def measure_machine(guest: str, definition: GuestDefinition) -> list[Measurement]:
    """Measure boots, past any snapshot, and restores. Raises what opening the guest raises."""
    source = QemuSource(definition)
    boots = []
    for _ in range(BOOTS):
        source.booted().close()
        boots.append(source.facts.boot_seconds or 0.0)
    with closing(open_subject(guest)) as subject:
        restores = [timed(subject.restore) for _ in range(RESTORES)]
    return [
        Measurement("boot, without a snapshot", "s", tuple(boots), Target(3, at_least=False)),
        Measurement("restore from the snapshot", "s", tuple(restores), Target(0.3, at_least=False)),
    ]


def measure_pytest(children: Children, guest: str) -> Measurement:
    """Measure the contract on any program as `pytest contracts` runs it. Raises RigError."""
    rates = []
    for seed in range(PYTEST_RUNS):
        order = Order(guest, None, (), PROGRAMS, str(seed), only="test_any_program")
        rates += [PROGRAMS / each.seconds for each in run_order(children, order).of(Found.MISSED)]
    if not rates:
        raise RigError(f"the guest {guest} breaks contracts, and so its speed cannot be measured")
    return Measurement("pytest -k any_program", "examples/s", tuple(rates))


def timed(work: Callable[[], object]) -> float:
    """Do the work and give the seconds that it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def draw_programs(children: Children, count: int = PROGRAMS) -> list[Program]:
    """Have programs of the standard mix drawn. Raises RigError."""
    command = [sys.executable, "-m", "strategies.stream", "--count", str(count)]
    ended = children.run(command, timeout_s=STREAM_S)
    if ended.status:
        raise RigError(f"no programs can be drawn: {ended.last_line()}")
    texts = ended.output.split("--- ")[:-1]
    # Each text but the first begins with the rest of the separator's line.
    return [parse_program(text.partition("\n")[2] if at else text) for at, text in enumerate(texts)]


def measure_model(programs: Sequence[Program], semantics: Semantics) -> Measurement:
    """Measure the steps a second of the model alone, without comparison or invariants."""
    steps = sum(map(len, programs))
    rates = [steps / timed(lambda: _run_all(programs, semantics)) for _ in range(PASSES)]
    return Measurement("model alone", "steps/s", tuple(rates))


def _run_all(programs: Sequence[Program], semantics: Semantics) -> None:
    for program in programs:
        machine = Machine(semantics)
        for op in program.steps:
            step(machine, op)
