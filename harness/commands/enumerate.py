"""`enumerate`: all small programs on a guest, one after the other, up to the first that breaks a contract."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import click

from harness.commands.cli import CONFORMS, DIVERGES
from harness.commands.json_file import check_json_file, write_json_file
from harness.compare.verdict import Verdict
from harness.errors import GuestTrouble, RigError, StorageError
from harness.guests import open_runner
from harness.program.program import Program
from harness.program.small_scope import Scope, all_programs, count_programs
from harness.report.failure import failure_text
from harness.report.store import FailureStore, replay_command
from harness.runner import Runner

EVERY_S = 5.0
"""Seconds between two words of progress, and between two notes in the file of --resume."""

EXAMPLES = """\b
Examples:
    python -m harness enumerate --steps 3 --pages 2 --processes 2 --count
    python -m harness enumerate --steps 3 --guest linux --resume here.json
    python -m harness enumerate --steps 4 --guest linux --shard 1/2
"""


@click.command("enumerate", epilog=EXAMPLES)
@click.option("--steps", type=click.IntRange(1, 8), default=3, show_default=True, help="The length of the programs.")
@click.option("--pages", type=click.IntRange(1, 4), default=2, show_default=True, help="Pages of window a, at most.")
@click.option("--processes", type=click.IntRange(1, 4), default=2, show_default=True, help="Processes, at most.")
@click.option("--guest", metavar="NAME|FILE.toml", default="linux", show_default=True, help="The kernel to run them on.")
@click.option("--fault", "faults", metavar="NAME", multiple=True, help="Plant a fault; may be repeated.")
@click.option("--shard", metavar="I/N", default="1/1", help="Run every Nth program only, from the Ith on.")
@click.option(
    "--resume", metavar="FILE", type=click.Path(path_type=Path),
    help="Go on where FILE says, and note there how far this run came.",
)  # fmt: skip
@click.option("--count", "only_count", is_flag=True, help="Say how many there are, and run none.")
def enumerate_(
    *,
    steps: int,
    pages: int,
    processes: int,
    guest: str,
    faults: tuple[str, ...],
    shard: str,
    resume: Path | None,
    only_count: bool,
) -> int:
    """Run all programs of exactly so many steps, up to symmetry, and stop at the first that breaks a contract.

    They are made of map, unmap, protect, load, store, fork, exec, exit and wait on single pages; pages, processes and
    values are named in the order of their first use.

    Exit status: 0 all conform, 1 one diverges, 2 the command line or the rig is in trouble.
    """
    scope, part = Scope(steps, pages, processes), _shard(shard)
    total = len(range(part[0] - 1, count_programs(scope), part[1]))
    click.echo(f"{total:,} programs of {steps} steps, at most {pages} pages and {processes} processes")
    if only_count:
        return CONFORMS
    check_json_file(resume)
    key = {"steps": steps, "pages": pages, "processes": processes, "guest": guest, "faults": list(faults), "shard": shard}
    done = _done_before(resume, key)
    with closing(open_runner(guest, faults=faults)) as runner:
        verdict = _run(runner, _programs(scope, part, done), _Progress(resume, key, done, total))
        if verdict is None:
            return CONFORMS
        contract = verdict.divergences[0].contracts[0]
        path = FailureStore(Path("failures")).save(verdict, contract=contract, guest=guest, faults=faults)
        explained = _explain(runner, verdict)
        text = failure_text(verdict, contract=None, explained=explained, replay=replay_command(path), guest=guest)
        click.echo(text, nl=False)
    return DIVERGES


def _explain(runner: Runner, verdict: Verdict) -> Verdict | None:
    try:
        return runner.explain(verdict)
    except (RigError, GuestTrouble):
        return None  # the finding stands; only its dense view is missing


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.UsageError(f"--shard {text}: write I/N, with I from 1 to N")
    return int(match[1]), int(match[2])


def _programs(scope: Scope, part: tuple[int, int], done: int) -> Iterator[Program]:
    first, every = part
    return islice(all_programs(scope), first - 1 + done * every, None, every)


def _done_before(resume: Path | None, key: dict[str, object]) -> int:
    """Read how many programs an earlier run did. Raises StorageError where the file is of another run, or none of ours."""
    if resume is None or not resume.exists():
        return 0
    try:
        noted = json.loads(resume.read_text(encoding="utf-8"))
        done = int(noted.pop("done"))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(f"--resume {resume} is not a file of this command: {error}") from error
    if noted != key:
        raise StorageError(f"--resume {resume} is of another run: {json.dumps(noted)}")
    return done


class _Progress:
    """Says now and then how far the run is, and notes it in the file."""

    def __init__(self, resume: Path | None, key: dict[str, object], done: int, total: int) -> None:
        self.resume, self.key, self.done, self.total = resume, key, done, total
        self.first, self.began = done, time.monotonic()
        self.said = self.began

    def step(self) -> None:
        """Count one program that conforms."""
        self.done += 1
        if time.monotonic() - self.said >= EVERY_S:
            self.say()

    def say(self) -> None:
        """Say it now."""
        self.said = time.monotonic()
        seconds = max(self.said - self.began, 1e-6)
        speed = (self.done - self.first) / seconds
        left = f", {(self.total - self.done) / speed:,.0f} s to go" if speed and self.done < self.total else ""
        click.echo(f"{self.done:,} of {self.total:,} conform, {seconds:,.0f} s, {speed:,.0f}/s{left}", err=True)
        write_json_file(self.resume, self.key | {"done": self.done})


def _run(runner: Runner, programs: Iterator[Program], progress: _Progress) -> Verdict | None:
    """Run them up to the first that does not conform, and give its verdict."""
    try:
        for program in programs:
            verdict = runner.run(program)
            if not verdict.conforms:
                return verdict
            progress.step()
    finally:
        progress.say()
    return None
