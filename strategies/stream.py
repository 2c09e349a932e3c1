"""`python -m strategies.stream`: drawn programs as text, for those who may not know Hypothesis.

Each program is followed by a line `--- SECONDS`: what drawing it took, from the end of the test of the one
before to the beginning of its own. So this is what a run of the contracts pays for it, Hypothesis's own
work included. As in such a run, there is a fresh start after every `--batch` programs.

With `--on-request` a program is drawn for each line of standard input, until that ends.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, seed, settings

from harness.program.program import Program
from harness.program.text import format_program
from strategies.programs import programs
from strategies.provider import register_provider

Take = Callable[[Program, float], None]
"""Takes a program, and the seconds that it took to draw it."""

BATCH = 100
"""Programs after which drawing starts afresh: as many as a contract runs by default."""


class Enough(BaseException):
    """Nobody wants more programs. Hypothesis takes an Exception for the finding of a test."""


def draw(count: int, *, chosen_seed: int, batch: int = BATCH, take: Take) -> None:
    """Draw `count` programs of the standard mix, those of `programs()`, and hand each to `take`."""
    drawn = 0
    while drawn < count:
        wanted = min(batch, count - drawn)
        _draw_batch(wanted, chosen_seed + drawn, take)
        drawn += wanted


def _draw_batch(count: int, chosen_seed: int, take: Take) -> None:
    began = time.perf_counter()

    @seed(chosen_seed)
    @settings(
        max_examples=count,
        database=None,
        backend=register_provider(),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(program=programs())
    def test(program: Program) -> None:
        nonlocal began
        take(program, time.perf_counter() - began)
        began = time.perf_counter()

    test()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print programs as the command line says; the mean time goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m strategies.stream", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N")
    parser.add_argument("--on-request", action="store_true")
    chosen = parser.parse_args(arguments)
    times: list[float] = []

    def take(program: Program, seconds: float) -> None:
        times.append(seconds)
        sys.stdout.write(f"{format_program(program)}--- {seconds:.6f}\n")
        sys.stdout.flush()
        wait_request()  # here, so that nothing is drawn while somebody runs the program

    def wait_request() -> None:
        if chosen.on_request and not sys.stdin.readline():
            raise Enough

    with suppress(Enough):
        wait_request()
        draw(chosen.count, chosen_seed=chosen.seed, batch=chosen.batch, take=take)
    if times:
        mean = 1000 * sum(times) / len(times)
        print(f"{len(times)} programs, {mean:.2f} ms each", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
