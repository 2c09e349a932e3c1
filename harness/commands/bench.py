"""`bench`: the numbers of the project, measured here and now."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.commands.bench_machine import (
    draw_programs,
    measure_machine,
    measure_model,
    measure_pytest,
)
from harness.commands.bench_rounds import RemoteWorker, round_measurements, run_rounds
from harness.commands.bench_table import Measurement, Target, table_lines
from harness.commands.bench_views import measure_views
from harness.commands.bench_worker import serve
from harness.commands.children import Children
from harness.commands.cli import CONFORMS
from harness.commands.fault_runs import Found, Order, run_order
from harness.commands.faults import WANTED_EXAMPLES, chosen_faults, cpu_count
from harness.commands.json_file import check_json_file, write_json_file
from harness.errors import DefinitionError
from harness.guest.definition import GuestDefinition, load_definition
from harness.model.presets import PRESETS

METHOD = (
    "mix: strategies.programs.programs() with its defaults, a fresh start of Hypothesis every 100 programs",
    "examples/s: the whole cycle: drawing, handing over, running, comparing, restoring every 400 programs",
    "two workers: two processes with a guest each; examples of both over the time in which both ran",
    "one and two workers take turns; the value is the median, and the ratio is that of neighbours",
    "shares: of the wall time of one worker",
    "looks: the same programs in each way, run and traced, not drawn or compared; 5 times 20 of them by turns",
    "pytest: the same mix in a run of the contracts, to check; it hands nothing over",
)
BUSY = 0.5
"""A load average from which on somebody else uses the machine."""

EXAMPLES = """\b
Examples:
    python -m harness bench
    python -m harness bench --seconds 60 --json bench.json
    python -m harness bench --guest model --faults
"""


@click.command(epilog=EXAMPLES)
@click.option("--guest", default="linux", show_default=True, metavar="NAME|FILE.toml", help="The kernel.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=30.0, show_default=True, metavar="N",
    help="How long one worker is measured, and how long two are.",
)  # fmt: skip
@click.option("--faults", "with_faults", is_flag=True, help="Also the time to find each planted fault.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write it here too.")
@click.option("--worker", type=int, metavar="SEED", hidden=True)
def bench(*, guest: str, seconds: float, with_faults: bool, json_file: Path | None, worker: int | None) -> int:
    """Measure how fast the contracts run on a guest, and where the time goes.

    Speed with one worker and with two, on the programs that contracts draw by default; the parts of an
    example's time; boot, restore and memory of the guest; the model alone.

    Exit status: 0 it was measured (a target that is missed is no error), 2 trouble.
    """
    if worker is not None:
        serve(guest, worker, sys.stdin, sys.stdout)
        return CONFORMS
    check_json_file(json_file)
    definition = load_definition(guest)
    if definition.semantics not in PRESETS:
        raise DefinitionError(f"there are no semantics {definition.semantics!r}")
    load = os.getloadavg()[0]
    with Children() as children:
        header, found = _measure(children, definition, guest, seconds)
        if with_faults:
            found += measure_faults(children, guest if definition.kind == "model" else "model")
    notes = _notes(header, load)
    click.echo("\n".join([*notes, "", *table_lines(found), "", *METHOD]))
    write_json_file(json_file, to_json(notes, found))
    return CONFORMS


def _measure(
    children: Children, definition: GuestDefinition, guest: str, seconds: float
) -> tuple[list[str], list[Measurement]]:
    """Measure everything but faults; give the guest's header too."""
    machine: list[Measurement] = []
    if definition.kind != "model":
        _say("boot and restore")
        machine = measure_machine(guest, definition)
    _say("the model alone")
    programs = draw_programs(children)
    model = measure_model(programs, PRESETS[definition.semantics])
    views: list[Measurement] = []
    if definition.kind != "model":
        _say("ways to look")
        views = measure_views(definition, programs)
    _say(f"one worker and two by turns, {2 * seconds:g} s")
    workers = [RemoteWorker(children, guest, number) for number in (1, 2)]
    ready = [worker.wait_ready() for worker in workers]
    header = ready[0]["header"]
    rounds = run_rounds(workers, seconds)
    for worker in workers:
        worker.end()
    _say("pytest")
    whole = measure_pytest(children, guest)
    found = [*round_measurements(rounds), whole, *views, *machine, model]
    findings = sum(each.findings for each in rounds.all)
    if findings:
        header = [*header, f"note: {findings} programs broke a contract, which costs restores"]
    return header, found


def measure_faults(children: Children, guest: str) -> list[Measurement]:
    """Measure the time to find and shrink each planted fault, one run at a time."""
    found = []
    for fault in chosen_faults(guest, ()):
        _say(f"fault {fault}")
        run = run_order(children, Order(guest, fault, (fault,), WANTED_EXAMPLES, seed="0"))
        caught = sorted(run.of(Found.CAUGHT), key=lambda each: each.examples or 0)
        if not caught:
            found.append(Measurement(f"fault {fault}", "examples", (), _target(), "not found"))
            continue
        best = caught[0]
        note = f"{best.seconds:.2f} s to find and shrink to {best.steps} steps, {best.contract}"
        found.append(Measurement(f"fault {fault}", "examples", (best.examples or 0,), _target(), note))
    return found


def _target() -> Target:
    return Target(WANTED_EXAMPLES, at_least=False)


def _say(what: str) -> None:
    click.echo(f"… {what}", err=True)


def _notes(header: Sequence[str], load: float) -> list[str]:
    cpus = cpu_count()
    host = f"host: {cpus} CPUs, {platform.machine()}, Python {platform.python_version()}"
    busy = ": somebody else was using it" if load > BUSY else ""
    return [*header, host, f"load average of the host before: {load:.1f}{busy}"]


def to_json(notes: Sequence[str], found: Sequence[Measurement]) -> dict[str, Any]:
    """Write everything as plain data."""
    return {
        "notes": list(notes),
        "method": list(METHOD),
        "measurements": [each.to_json() for each in found],
    }
