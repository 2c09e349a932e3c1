"""The command line: the group that each command adds itself to, and what becomes of errors.

Exit status: 0 all is well, 1 the kernel broke a contract, 2 the command line, a file or our own side is
wrong (one sentence on stderr), 130 interrupted.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence

import click

from harness.errors import GuestTrouble, PagepactError

CONFORMS, DIVERGES, TROUBLE, INTERRUPTED = 0, 1, 2, 130

CONSOLE_LINES, CONSOLE_WIDTH = 15, 80
"""How much of a guest's console stands below the sentence, where a guest is in trouble."""

EXAMPLES = """\b
Look at a program with the eyes of the model, then run it on a kernel:
    python -m harness show fixtures/programs/NAME.prog
    python -m harness replay fixtures/programs/NAME.prog --guest linux
"""


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(epilog=EXAMPLES, context_settings=SETTINGS)
def cli() -> None:
    """Hold a kernel's memory to its contracts, one program at a time.

    All contracts on generated programs: python -m pytest contracts
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status; no error gets past, and none shows a traceback."""
    try:
        status = cli.main(args=arguments, prog_name="python -m harness", standalone_mode=False)
        sys.stdout.flush()  # here, where a pipe that is closed is still handled
    except (click.Abort, KeyboardInterrupt):
        print("pagepact: interrupted", file=sys.stderr)
        return INTERRUPTED
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PagepactError as error:
        _complain(error)
        return TROUBLE
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TROUBLE
    return status if isinstance(status, int) else CONFORMS


def _complain(error: PagepactError) -> None:
    sentence = " ".join(str(error).split())
    print(f"pagepact: {sentence}", file=sys.stderr)
    if isinstance(error, GuestTrouble):
        for line, times in _squeezed(error.console.splitlines())[-CONSOLE_LINES:]:
            print(f"    | {line}" + (f"  ({times} times)" if times > 1 else ""), file=sys.stderr)


def _squeezed(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Cut lines to what a terminal shows, and give those that repeat each other once: (line, how often)."""
    cut = (line if len(line) <= CONSOLE_WIDTH else line[: CONSOLE_WIDTH - 1] + "…" for line in lines)
    return [(line, len([*same])) for line, same in itertools.groupby(cut)]
