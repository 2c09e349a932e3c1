"""`show`: a program with the eyes of the model, without any guest. For learning how memory works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from harness.errors import ProgramError
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.semantics import Semantics
from harness.model.step import rehearse
from harness.model.step import step as model_step
from harness.program.ops import SILENT, Op
from harness.program.program import Program
from harness.program.text import format_op, format_outcome
from harness.report.model_state import ModelView
from harness.report.store import read_failure

KEY = (
    "+ new, * changed, - gone with this step. An entry reads: page -> frame, what the hardware allows.",
    "A, B, … are frames; their references are found by a walk over all page tables and the page cache.",
)

EXAMPLES = """\b
Examples:
    python -m harness show fixtures/programs/NAME.prog
    python -m harness show my.prog --step 4
    python -m harness show my.prog --semantics textbook
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--semantics", type=click.Choice(sorted(PRESETS)), default="linux-6.1", show_default=True,
    help="The kernel whose choices the model makes.",
)  # fmt: skip
@click.option("--step", "only", type=click.IntRange(min=1), metavar="N", help="Show this step only.")
@click.option("--all", "everything", is_flag=True, help="Show the image's VMAs too where untouched.")
def show(file: Path, semantics: str, only: int | None, everything: bool) -> None:
    """Show what the program in FILE does to memory, step by step.

    No kernel runs: this is the executable model, and therefore what the contracts allow. After each step
    it prints what the caller sees, each process's VMAs and page-table entries, and who holds each frame.
    """
    program = read_failure(file).program
    if only is not None and only > len(program):
        raise ProgramError(f"has {len(program)} steps, and no step {only}", source=str(file))
    lines = show_lines(program, PRESETS[semantics], only=only, everything=everything)
    click.echo("\n".join(lines))


def show_lines(
    program: Program, semantics: Semantics, *, only: int | None = None, everything: bool = False
) -> Iterator[str]:
    """Write the model's state after each step, or after 1-based step `only`, with what it changed."""
    machine = Machine(semantics)
    view = ModelView(machine, everything=everything)
    view.note()
    yield from KEY
    for number, op in enumerate(program.steps, 1):
        said = _step(machine, op, number)
        rehearse(machine, program.steps, number - 1)
        state = view.lines()
        if only in (None, number):
            yield from ("", said, *state)


def _step(machine: Machine, op: Op, number: int) -> str:
    """Do a step; say what the caller sees, and what the kernel had to do for it."""
    reached = Counter(machine.reach)
    allowed = model_step(machine, op)
    if allowed.adopt is not None:
        allowed.adopt(allowed.outcomes[0])
    head = f"step {number}  {format_op(op)}"
    if isinstance(op, SILENT):
        return head
    outcomes = " or ".join(format_outcome(outcome) for outcome in allowed.outcomes)
    return f"{head}  => {outcomes}{_events(machine, machine.reach - reached)}"


def _events(machine: Machine, events: Counter[str]) -> str:
    low, high = machine.last_faults_range
    told = sorted(events.elements())
    if high:
        faults = str(low) if low == high else f"{low} to {high}"
        told.append(f"{faults} page fault{'' if high == 1 else 's'}")
    return f"   ({', '.join(told)})" if told else ""
