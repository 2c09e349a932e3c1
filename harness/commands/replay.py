"""`replay`: run a program file on a guest again, and explain what goes wrong."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import click

from harness.commands.cli import CONFORMS, DIVERGES
from harness.compare.catalogue import CONTRACTS
from harness.compare.verdict import Verdict
from harness.errors import DefinitionError, GuestTrouble, RigError
from harness.guest.definition import list_definitions, load_definition
from harness.guests import check_faults, open_runner
from harness.program.abilities import left_out_lines, within
from harness.program.levels import Level
from harness.report.failure import failure_text
from harness.report.known import expected, load_known
from harness.report.store import Failure, read_failure
from harness.runner import Runner
from harness.subject import How

DEFAULT_GUEST = "linux"

EXAMPLES = """\b
Examples:
    python -m harness replay failures/cow.break-copies-all-1a2b3c4d.prog
    python -m harness replay my.prog --guest model --fault cow-shares
    python -m harness replay my.prog --kernel build/bzImage --times 20
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--guest", metavar="NAME|FILE.toml", help="The kernel to run on; see the command guests.")
@click.option(
    "--kernel",
    metavar="IMAGE",
    type=click.Path(path_type=Path),
    help="A kernel image for the guest.",
)
@click.option("--arch", metavar="NAME", help="The architecture of that image (x86_64 or arm64).")
@click.option("--append", metavar="WORDS", default="", help="More words for the kernel's command line.")
@click.option("--fault", "faults", metavar="NAME", multiple=True, help="Plant a fault; may be repeated.")
@click.option(
    "--times", type=click.IntRange(min=1), default=1, show_default=True,
    help="Run so often, each time from a pristine guest.",
)  # fmt: skip
def replay(
    *,
    file: Path,
    guest: str | None,
    kernel: Path | None,
    arch: str | None,
    append: str,
    faults: tuple[str, ...],
    times: int,
) -> int:
    """Run the program in FILE on a guest and hold it to the contracts.

    FILE is a failure file, or any program (.prog). Guest, kernel and faults are those that the head of
    the file names; where it names no guest, linux, or the first guest that can have its faults. With
    --guest what the file names does not count. Steps that the guest's kernel cannot do are left out, and named.

    Exit status: 0 it conforms, 1 it diverges, 2 the file or the rig is in trouble.
    """
    failure = _chosen(read_failure(file), guest=guest, kernel=kernel, faults=faults, arch=arch, append=append)
    if failure.kernel is not None and not failure.kernel.is_file():
        raise DefinitionError(f"there is no kernel image {failure.kernel}")
    runner = open_runner(
        failure.guest, kernel=failure.kernel, faults=failure.faults, arch=failure.arch, append=failure.append
    )
    with closing(runner):
        return _replay(runner, _possible(runner, failure, file), file, times)


def _chosen(
    failure: Failure,
    *,
    guest: str | None,
    kernel: Path | None,
    faults: tuple[str, ...],
    arch: str | None,
    append: str,
) -> Failure:
    """Let the command line go before the file's head."""
    if guest is not None:
        return dataclasses.replace(failure, guest=guest, kernel=kernel, faults=faults, arch=arch, append=append)
    return dataclasses.replace(
        failure,
        arch=arch or failure.arch,
        append=append or failure.append,
        guest=failure.guest or _guest_with(faults or failure.faults),
        kernel=kernel or failure.kernel,
        faults=faults or failure.faults,
    )


def _guest_with(faults: tuple[str, ...]) -> str:
    """Name the guest for a file that names none: the first that can have these faults, where there are any.

    Raises DefinitionError where no guest has all of them.
    """
    if not faults:
        return DEFAULT_GUEST
    for guest in ("model", *list_definitions()):
        try:
            check_faults(load_definition(guest), faults)
        except DefinitionError:
            continue
        return guest
    raise DefinitionError(f"no guest can have the faults {', '.join(faults)}; choose one with --guest")


def _possible(runner: Runner, failure: Failure, file: Path) -> Failure:
    """Leave out what the guest's kernel cannot do, and say which steps these are; DefinitionError where none is left."""
    lacking: dict[str, str] = getattr(runner.subject, "lacking", {})
    left_out = left_out_lines(failure.program, lacking)
    before = sum(len(left_out_lines(program, lacking)) for program in failure.before)
    if before:
        left_out.append(f"{before} step{'s' if before > 1 else ''} of the programs that run before")
    if not left_out:
        return failure
    click.echo(f"left out, since the kernel of guest {failure.guest} lacks what they need:")
    click.echo("\n".join(f"    {line}" for line in left_out) + "\n")
    program = within(failure.program, lacking.keys())
    if not program.steps:
        raise DefinitionError(f"nothing of {file} is left to be run: try another guest")
    return dataclasses.replace(
        failure, program=program, before=tuple(within(each, lacking.keys()) for each in failure.before)
    )


def _replay(runner: Runner, failure: Failure, file: Path, times: int) -> int:
    diverged, first = 0, None  # of any number of runs only the first finding is kept
    for _ in range(times):
        verdict = _run(runner, failure)
        diverged += not verdict.conforms
        first = first or (None if verdict.conforms else verdict)
    if times > 1:
        click.echo(f"{diverged} of {times} runs diverged.\n")
    if first is None:
        click.echo(_conforms(runner, failure, file))
        return CONFORMS
    click.echo(report(runner, failure, first), nl=False)
    path = load_definition(failure.guest).known_divergences
    for entry in expected(first, load_known(path) if path else ()):
        click.echo(f"\nEXPECTED on this guest, and no failure of the contracts: {entry}")
    return DIVERGES


def _run(runner: Runner, failure: Failure) -> Verdict:
    """Run the file's programs: first as they were run then, and if that conforms, with all eyes open.

    A look changes what it looks at (it flushes TLBs, and takes time), so the second run is no substitute
    for the first; and what is missing when all is over says least, so that it is asked for late, once more without looks in
    between. At last nothing is looked at but memory: a count of faults tells the model what it has to find out else.
    Gives the first verdict that diverges, or the last.
    """
    first = failure.how if failure.contract else How(count_faults=True, pte_bits=True)
    first = dataclasses.replace(first, patient=True)
    everything = How(dense=True, pte_bits=True, accounting=True, patient=True)
    for how in (first, everything, dataclasses.replace(first, accounting=True), How(patient=True)):
        verdict = runner.run_sequence(failure.programs, how)
        if not verdict.conforms:
            break
    return verdict


def report(runner: Runner, failure: Failure, verdict: Verdict) -> str:
    """Write what a verdict of the file's programs shows, with a second look after every step."""
    contract = failure.contract or None
    head = ""
    if contract is not None and not verdict.breaks(contract):
        head = f"The file was saved for {contract}; this run breaks another contract.\n\n"
        contract = None
    explained = _explain(runner, verdict)
    return head + failure_text(verdict, contract=contract, explained=explained, guest=failure.guest)


def _explain(runner: Runner, verdict: Verdict) -> Verdict | None:
    """Run what led to the verdict again with a look after every step; None where that fails."""
    try:
        explained = runner.run_densely([*verdict.after, verdict.program])
    except (RigError, GuestTrouble):
        return None  # the finding stands; only its dense view is missing
    return explained if explained.program == verdict.program else None


def _conforms(runner: Runner, failure: Failure, file: Path) -> str:
    """Say what was compared: a guest that shows little conforms easily."""
    program, levels = failure.program, runner.subject.levels
    size = f"{len(program)} steps, {program.processes} process{'es' if program.processes > 1 else ''}"
    planted = f" with {', '.join(failure.faults)}" if failure.faults else ""
    seen = ", ".join(str(level) for level in Level if level in levels)
    lines = [
        f"{file}: conforms on guest {failure.guest}{planted} ({size})",
        f"looked at: {seen}",
        "looked when: at the end, and in another run after every step",
    ]
    known = CONTRACTS.get(failure.contract)
    if known and known.level not in levels:
        lines.append(f"{known.id}, which the file is about, needs {known.level}: nothing is known about it")
    return "\n".join(lines)
