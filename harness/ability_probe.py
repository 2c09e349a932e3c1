"""Finds out, once, at boot, what a kernel cannot do: what the programs that need it are drawn without."""

from __future__ import annotations

from collections.abc import Callable, Container

from harness.program.abilities import ELSEWHERE, IMPLIED, LESSER, MISSING, PROBES
from harness.program.outcome import Failed
from harness.program.program import Program
from harness.program.text import format_outcome, parse_program
from harness.program.trace import Ending, Trace
from harness.subject import How

Execute = Callable[[Program, How], Trace]
Restore = Callable[[], None]


def probe_abilities(execute: Execute, restore: Restore, *, may_do_less: bool) -> dict[str, str]:
    """Give the word of each ability that the kernel lacks, and what it said to that.

    A probe that fails in another way, or worse, tells nothing here: what a kernel does wrongly, the contracts find.
    `may_do_less`: what is there may be asked, too, whether it does all that its name says on Linux.
    """
    lacking: dict[str, str] = {}
    for word, text in PROBES.items():
        if word.partition(" ")[0] in lacking:
            lacking[word] = lacking[word.partition(" ")[0]]
            continue
        program = parse_program(text)
        trace = execute(program, How())
        if trace.ending not in (Ending.COMPLETE, Ending.FORK_FAILED):
            restore()
        said = trace.outcomes[-1] if len(trace.outcomes) == len(program) else None
        if isinstance(said, Failed) and (said.errno in MISSING or said.errno == ELSEWHERE.get(word)):
            lacking |= dict.fromkeys((word, *IMPLIED.get(word, ())), said.errno)
    return lacking | _probe_lesser(execute, restore, lacking) if may_do_less else lacking


def _probe_lesser(execute: Execute, restore: Restore, lacking: Container[str]) -> dict[str, str]:
    """Give the word of each ability that is there and does less, and in what."""
    found: dict[str, str] = {}
    for word, text, why in LESSER:
        if word in lacking or word in found:
            continue
        trace = execute(parse_program(text), How())
        if trace.ending is not Ending.COMPLETE:
            restore()
        elif format_outcome(trace.outcomes[-1]) != text.rpartition("=> ")[2]:
            found[word] = why
    return found
