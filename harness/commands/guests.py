"""`guests`: which kernels there are to test, and what one of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from harness.commands.children import ROOT
from harness.errors import DefinitionError
from harness.guest.definition import GuestDefinition, list_definitions, load_definition
from harness.guests import MachineSubject, open_subject
from harness.report.known import load_known

EXAMPLES = """\b
Examples:
    python -m harness guests
    python -m harness guests --probe linux
    python -m harness guests --probe linux --kernel build/bzImage
    python -m harness guests --probe custom --kernel kernel.elf --append "log=debug"
"""


@click.command(epilog=EXAMPLES)
@click.option("--probe", metavar="NAME|FILE.toml", help="Boot this guest and say what it shows.")
@click.option(
    "--kernel",
    metavar="IMAGE",
    type=click.Path(path_type=Path),
    help="A kernel image for --probe.",
)
@click.option("--arch", metavar="NAME", help="The architecture of that image (x86_64 or arm64).")
@click.option("--append", metavar="WORDS", default="", help="More words for the kernel's command line.")
def guests(probe: str | None, kernel: Path | None, arch: str | None, append: str) -> None:
    """List the guests: the kernels that --guest selects.

    With --probe one of them is booted, to find out at which levels it can be observed. A contract whose
    level a guest does not show is skipped on it.
    """
    if probe is not None:
        known = load_definition(probe).known_divergences
        if known is not None:
            load_known(known)  # what is wrong with it should be said now, and not by the first run of the contracts
        with closing(open_subject(probe, kernel=kernel, arch=arch, append=append)) as subject:
            click.echo("\n".join(subject.header()))
            if isinstance(subject, MachineSubject) and (told := subject.suggest_counts()):
                click.echo("counts: " + "\n    ".join(told))
    elif kernel is not None or arch or append:
        raise click.UsageError("--kernel, --arch and --append go with --probe")
    else:
        click.echo("\n".join(guest_lines()))


def guest_lines() -> list[str]:
    """Write a line for each definition; one that cannot be read says why."""
    rows = [("name", "kind", "semantics", "kernel", "title")]
    wrong = []
    for name in list_definitions():
        try:
            definition = load_definition(name)
        except DefinitionError as error:
            wrong.append(f"{name}: {error}")
            continue
        rows.append((name, definition.kind, definition.semantics, _kernel(definition), definition.title))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [_columns(row, widths) for row in rows] + wrong


def _columns(row: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(row, widths, strict=True)
    return "  ".join(f"{cell:<{width}}" for cell, width in pairs).rstrip()


def _kernel(definition: GuestDefinition) -> str:
    source = definition.kernel
    if definition.kind == "model":
        return "in this process"
    if source.source == "debian":
        return f"{source.package} of {source.suite}"
    if source.source == "given":
        return "given by --kernel"
    return f"built from {_short(source.path)}" if source.source == "build" else _short(source.path)


def _short(path: Path | None) -> str:
    """Write a path as one would type it in the project's folder; as it is where it lies elsewhere."""
    assert path is not None
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
