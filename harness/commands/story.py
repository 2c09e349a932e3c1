"""`story`: the history that this project starts from, as five programs to run and see."""

from __future__ import annotations

import dataclasses
import textwrap
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from harness.commands.cli import CONFORMS, DIVERGES
from harness.commands.replay import report
from harness.guests import open_runner
from harness.report.failure import failure_text
from harness.report.store import Failure, read_failure

PROGRAMS = Path(__file__).resolve().parents[2] / "fixtures" / "programs"
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Story:
    """One chapter: `file` is the stem of its program, which names the fault; `words` tell what happened."""

    name: str
    title: str
    file: str
    words: str

    @property
    def path(self) -> Path:
        """The program's file."""
        return PROGRAMS / f"{self.file}.prog"


STORIES = (
    Story(
        "inflation",
        "exit and exec never drop the old address space",
        "seed-inflation",
        "Without teardown, every fork permanently inflates page refcounts: fork increments the refcount of every shared "
        "page and clears the writable bit; exec replaces the child's address space and drops nothing. When the parent "
        "writes, the fault handler sees a refcount above one and copies a whole page that the parent owns alone, instead "
        "of restoring the writable bit. Each fork+exec cycle compounds it: this was the 10 to 23 % on every fork+exec "
        "workload. Look at the counts after the first exec: they part there, long before anything is slow.",
    ),
    Story(
        "use-after-free",
        "full teardown frees pages that the page cache still points to",
        "seed-cache-use-after-free",
        "This is why teardown had been disabled. It frees a data page when its refcount reaches zero; but the page cache "
        "holds demand-faulted pages too, and had not counted itself. Teardown freed a page whose only remaining holder "
        "was the cache, and the next exec of the same binary was given a page that belonged to somebody else by then.",
    ),
    Story(
        "dec-only",
        "the published fix: counts drop, and nothing is ever freed",
        "seed-dec-only-leak",
        "teardown_table_dec_only decrements the refcount of each leaf page and never frees the page. The counts are "
        "right again, and the sole owner writes without a copy. But a page that only the child held, because the child "
        "wrote to it, reaches zero and is nobody's: it is lost, once for each such page of each child. 118 contract "
        "tests had the same result before and after.",
    ),
    Story(
        "shared-fork",
        "fork shares the parent's memory",
        "seed-shared-fork",
        "The first attempt at a fast fork: the child works in its parent's address space, as after vfork, which saves "
        "duplicating the page table. But the child of fork writes to its own thread state, in libc, before it does "
        "anything else, and each of these writes landed in the parent. It crashed at once.",
    ),
    Story(
        "eager-prefault",
        "64 pages are prefaulted where 8 were",
        "seed-eager-prefault",
        "The second attempt: prefault more pages of small anonymous mappings, to save demand faults. For processes that "
        "exit at once it is pure waste, allocating, zeroing and mapping pages that they never touch: 47 % slower. The "
        "kernel's declared budget is 8 pages; what is there beyond it is charged to a process that did nothing.",
    ),
)
"""The chapters, in the order in which they are best read."""

EXAMPLES = """\b
Examples:
    python -m harness story
    python -m harness story inflation
    python -m harness story dec-only --guest model
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False, type=click.Choice([story.name for story in STORIES]))
@click.option("--guest", default="mini", show_default=True, metavar="NAME", help="A guest that has the fault.")
def story(name: str | None, guest: str) -> int:
    """Run one of the five bugs of the kernel that this project starts from, with the bug and without.

    Without a name, list them.

    Exit status: 0 the bug shows and the sound kernel conforms, 1 the story went otherwise, 2 rig trouble.
    """
    chosen = next((each for each in STORIES if each.name == name), None)
    if chosen is None:
        _list()
        return CONFORMS
    _tell(chosen)
    failure = dataclasses.replace(read_failure(chosen.path), guest=guest, kernel=None)
    return _run(failure)


def _list() -> None:
    width = max(len(each.name) for each in STORIES)
    for each in STORIES:
        click.echo(f"{each.name:<{width}}  {each.title}")
    click.echo("\nRun one:  python -m harness story NAME")


def _tell(chosen: Story) -> None:
    click.echo(f"{chosen.title}\n")
    for line in textwrap.wrap(chosen.words, WIDTH - 4, break_on_hyphens=False):
        click.echo(f"    {line}")
    click.echo()


def _run(failure: Failure) -> int:
    (fault,) = failure.faults
    with closing(open_runner(failure.guest, faults=failure.faults)) as runner:
        broken = runner.run_sequence(failure.programs, failure.how)
        if broken.conforms:
            click.echo(f"With the fault {fault} the guest {failure.guest} conforms: the story does not show there.")
            return DIVERGES
        click.echo(report(runner, failure, broken))
    with closing(open_runner(failure.guest)) as runner:
        sound = runner.run_sequence(failure.programs, failure.how)
    if not sound.conforms:
        click.echo(failure_text(sound, contract=None, guest=failure.guest))
        return DIVERGES
    click.echo(f"Without the fault {fault} the same program conforms on guest {failure.guest}.")
    return CONFORMS
