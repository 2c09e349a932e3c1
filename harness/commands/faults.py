"""`faults`: plant each fault in a guest, and see whether the contracts that must catch it do."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from harness.commands.children import ROOT, Children
from harness.commands.cli import CONFORMS, DIVERGES
from harness.commands.fault_markdown import check_markdown_file, write_markdown_file
from harness.commands.fault_runs import FaultRun, Found, Order, run_order
from harness.commands.fault_table import Board, open_board
from harness.commands.json_file import check_json_file, write_json_file
from harness.errors import DefinitionError
from harness.guest.definition import load_definition
from harness.guests import check_faults
from harness.model_guest import FAULTS

WANTED_EXAMPLES = 300
"""Every fault has to be found within so many programs."""

FAILURES = Path("failures")

EXAMPLES = """\b
Examples:
    python -m harness faults --guest model
    python -m harness faults --guest model --only cow-shares --only ghost-fork --examples 1000
    python -m harness faults --guest model --keep shrunk --json faults.json
    python -m harness faults --guest mini --list
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: on which guest, which faults, and how much."""

    guest: str
    faults: tuple[str, ...]
    partly: bool
    """Whether these are a choice: then the sound guest is held to the contracts of the choice only."""
    examples: int
    seed: str
    jobs: int
    keep: Path | None = None

    def sound(self) -> Order:
        """Order the run without any fault."""
        chosen = self.faults if self.partly else ()
        return Order(self.guest, None, chosen, self.examples, self.seed, self.jobs, self.keep or FAILURES)

    def planted(self, fault: str) -> Order:
        """Order the run with a fault."""
        keep = self.keep / fault if self.keep else None
        return Order(self.guest, fault, (fault,), self.examples, self.seed, keep=keep)


@click.command(epilog=EXAMPLES)
@click.option("--guest", default="model", show_default=True, metavar="NAME", help="The guest with the faults.")
@click.option("--only", multiple=True, metavar="FAULT", help="Only this fault; may be repeated.")
@click.option(
    "--examples", type=click.IntRange(min=1), default=WANTED_EXAMPLES, show_default=True,
    help="Programs for each contract.",
)  # fmt: skip
@click.option("--seed", metavar="TEXT", help="Draw the programs that a run with this seed drew.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Runs at a time [default: one a CPU].")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the results here too.",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Put the table into this file, in place of the one there.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR",
    help="Write the shrunk programs to DIR/FAULT/.",
)  # fmt: skip
@click.option("--list", "lists", is_flag=True, help="List the faults of the guest, and run nothing.")
def faults(
    *,
    guest: str,
    only: tuple[str, ...],
    examples: int,
    seed: str | None,
    jobs: int | None,
    json_file: Path | None,
    markdown: Path | None,
    keep: Path | None,
    lists: bool,
) -> int:
    """Plant each fault of a guest, and run the contracts that must catch it.

    A contract names the faults that it must catch. Before that all contracts run against the guest
    without a fault, which must not be accused of anything; with --only, those that name one of these.

    Exit status: 0 every fault is caught by every contract that names it, 1 one is missed, or named by
    no contract, or the sound guest is accused, 2 the command line or our own side is in trouble.
    """
    if lists:
        for name in chosen_faults(guest, only):
            click.echo(f"{name}: {FAULTS[name].sentence}")
        return CONFORMS
    check_json_file(json_file)
    check_markdown_file(markdown)
    plan = Plan(
        guest=guest,
        faults=chosen_faults(guest, only),
        partly=bool(only),
        examples=examples,
        seed=seed or f"{random.SystemRandom().randrange(1 << 32):08x}",
        jobs=jobs or cpu_count(),
        keep=keep.absolute() if keep else None,
    )
    sound, runs = run_plan(plan, click.echo)
    verdict = summary(plan, sound, runs)
    click.echo("\n" + "\n".join(verdict))
    write_json_file(json_file, to_json(plan, sound, runs))
    write_markdown_file(markdown, f"{title_of(plan)}: {verdict[-1]}" if is_proven(sound, runs) else title_of(plan), runs)
    return CONFORMS if is_proven(sound, runs) else DIVERGES


def title_of(plan: Plan) -> str:
    """Say what was run."""
    return f"guest {plan.guest}, {plan.examples} programs for each contract, seed {plan.seed}"


def cpu_count() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_faults(guest: str, only: Sequence[str]) -> tuple[str, ...]:
    """Name the faults to plant, in the catalogue's order.

    Raises DefinitionError for an unknown guest or fault, and where the guest has no faults.
    """
    definition = load_definition(guest)
    check_faults(definition, tuple(only))
    known = tuple(FAULTS) if definition.kind == "model" else definition.faults
    if not known:
        raise DefinitionError(f"the guest {definition.name!r} has no switchable faults; use --guest model or mini")
    return tuple(name for name in known if name in only or not only)


def run_plan(plan: Plan, say: Callable[[str], None]) -> tuple[FaultRun, dict[str, FaultRun]]:
    """Run the sound guest, then each fault, `jobs` at a time. Raises RigError; nothing runs on."""
    if not (ROOT / "contracts").is_dir():
        raise DefinitionError(f"there are no contracts in {ROOT}; run this from a copy of the source tree")
    say(title_of(plan))
    with ThreadPoolExecutor(plan.jobs) as pool, Children() as children:
        sound = pool.submit(run_order, children, plan.sound()).result()
        say(sound_line(sound))
        with open_board(plan.faults, plan.examples) as board:
            futures = {pool.submit(run_order, children, plan.planted(fault)): fault for fault in plan.faults}
            try:
                return sound, _collect(futures, board)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _collect(futures: Mapping[Future[FaultRun], str], board: Board) -> dict[str, FaultRun]:
    runs: dict[str, FaultRun] = {}
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        runs |= {futures[each]: each.result() for each in done}
        board.update(runs)
    return {fault: runs[fault] for fault in futures.values()}


# ---------------------------------------------------------------------------------- what came of it


def is_proven(sound: FaultRun, runs: Mapping[str, FaultRun]) -> bool:
    """Tell whether every fault is caught in time by every contract that names it, and no sound guest."""
    return (
        not _accused(sound)
        and not sound.of(Found.ERROR)
        and all(run.caught_by_all for run in runs.values())
        and not _late(runs)
    )


def _accused(sound: FaultRun) -> list[str]:
    """Name the contracts that the sound guest was said to break."""
    return sorted({result.broken or "" for result in sound.of(Found.CAUGHT)} | set(sound.beside))


def _late(runs: Mapping[str, FaultRun]) -> list[str]:
    return [fault for fault, run in runs.items() if (run.examples_to_find or 0) > WANTED_EXAMPLES]


def sound_line(sound: FaultRun) -> str:
    """Say how the guest without a fault fared."""
    accused, errors = _accused(sound), len(sound.of(Found.ERROR))
    said = f"ACCUSED of breaking {', '.join(accused)}" if accused else "not accused"
    return f"without a fault, {len(sound.results)} contracts: {said}{f', {errors} ERRORS' if errors else ''}\n"


def summary(plan: Plan, sound: FaultRun, runs: Mapping[str, FaultRun]) -> list[str]:
    """Say in sentences what is wrong, or that nothing is."""
    lines = [f"The guest without a fault is accused of breaking {name}." for name in _accused(sound)]
    lines += _errors("no fault", sound)
    for fault, run in runs.items():
        if not run.results:
            lines.append(f"{fault}: no contract names it among those that it catches.")
        missed = [result.contract for result in run.of(Found.MISSED)]
        if missed:
            beside = f" (broken beside: {', '.join(run.beside)})" if run.beside else ""
            lines.append(f"{fault}: missed by {', '.join(missed)}{beside}.")
        lines += _errors(fault, run)
        lines += [f"{fault}: {each.contract} was skipped: {each.note}." for each in run.of(Found.SKIPPED)]
    lines += [f"{fault}: found only after {WANTED_EXAMPLES} examples." for fault in _late(runs)]
    caught = sum(run.caught_by_all for run in runs.values())
    lines.append(f"{caught} of {len(runs)} faults are caught by every contract that names them.")
    if not is_proven(sound, runs):
        lines.append(f"The same again: --examples {plan.examples} --seed {plan.seed}")
    return lines


def _errors(fault: str, run: FaultRun) -> list[str]:
    """Say which tests ended in an error; those of the same error in one line."""
    tests: dict[str, list[str]] = {}
    for each in run.of(Found.ERROR):
        tests.setdefault(each.note, []).append(each.test)
    return [f"{fault}: {', '.join(names)} ended in an error: {note}" for note, names in tests.items()]


def to_json(plan: Plan, sound: FaultRun, runs: Mapping[str, FaultRun]) -> dict[str, Any]:
    """Write everything as plain data."""
    return {
        "guest": plan.guest,
        "examples": plan.examples,
        "seed": plan.seed,
        "proven": is_proven(sound, runs),
        "sound": asdict(sound),
        "faults": [
            {
                "fault": fault,
                "sentence": FAULTS[fault].sentence if fault in FAULTS else "",
                "caught": run.caught_by_all,
                **asdict(run),
            }
            for fault, run in runs.items()
        ],
    }
