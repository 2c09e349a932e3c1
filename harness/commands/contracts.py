"""`contracts`: the sentences that a kernel is held to."""

from __future__ import annotations

import textwrap

import click

from harness.compare.catalogue import CONTRACTS
from harness.program.levels import Level

EXAMPLES = """\b
Examples:
    python -m harness contracts
    python -m harness contracts cow. fork.
    python -m harness contracts --level refcounts
"""


@click.command(epilog=EXAMPLES)
@click.argument("words", nargs=-1)
@click.option(
    "--level",
    type=click.Choice([str(level) for level in Level]),
    help="Only those at this level.",
)
def contracts(words: tuple[str, ...], level: str | None) -> None:
    """List the contracts: id, the level of observation that it needs, and the sentence.

    WORDS select those whose id contains one of them.
    """
    chosen = [
        contract
        for contract in CONTRACTS.values()
        if (not words or any(word in contract.id for word in words)) and level in (None, str(contract.level))
    ]
    if not chosen:
        raise click.UsageError("no contract is like that; without words, all are listed")
    for contract in chosen:
        click.echo(f"{contract.id}  ({contract.level})")
        click.echo(textwrap.fill(contract.sentence, 96, initial_indent="    ", subsequent_indent="    "))
