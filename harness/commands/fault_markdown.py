"""The table of `faults` in Markdown, put into a file in place of the one that is there: a README shows what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.commands.fault_runs import FaultRun, Found, Result
from harness.errors import DefinitionError, StorageError
from harness.model_guest import FAULTS

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
"""The lines between which the table stands in a file that holds more than it."""

_HEAD = ("| fault | what is wrong | caught by | examples | steps |", "|---|---|---|---:|---:|")


def check_markdown_file(path: Path | None) -> None:
    """Raise DefinitionError where the file cannot take a table, before hours are spent on one."""
    if path is not None and path.exists():
        _parts(path)


def write_markdown_file(path: Path | None, title: str, runs: Mapping[str, FaultRun]) -> None:
    """Write the table to `path`: all of a new file, or what stands between BEGIN and END. Raises StorageError."""
    if path is None:
        return
    before, after = _parts(path) if path.exists() else ("", "")
    table = "\n".join([BEGIN, title, "", *_HEAD, *_rows(runs), END])
    try:
        path.write_text(f"{before}{table}\n{after}", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _parts(path: Path) -> tuple[str, str]:
    """Give what stands before the table, and behind it."""
    try:
        before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path} cannot be read as text: {error}") from error
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DefinitionError(f"{path} has no place for a table: put the lines {BEGIN} and {END} where it is to stand")
    return before, after.removeprefix("\n")


def _rows(runs: Mapping[str, FaultRun]) -> Iterator[str]:
    """Write a row for each fault; its contracts stand in the order of the numbers that follow."""
    for fault, run in runs.items():
        sentence = FAULTS[fault].sentence if fault in FAULTS else ""
        contracts = ", ".join(result.contract for result in run.results) or "no contract"
        examples = ", ".join(_examples(result) for result in run.results)
        steps = ", ".join("–" if result.steps is None else str(result.steps) for result in run.results)
        yield f"| `{fault}` | {sentence} | {contracts} | {examples} | {steps} |"


def _examples(result: Result) -> str:
    return str(result.examples) if result.found is Found.CAUGHT else f"**{result.found}**"
