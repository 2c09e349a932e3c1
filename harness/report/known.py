"""Known divergences: findings that are expected, because somebody has looked at them and written down why.

::

    [[divergence]]
    contract = "wait.status"               # the contract that is broken
    pattern = "exited 0"                   # a regular expression, looked for in the finding's sentence and in the program
    reason = "a killed child is reported as an exit"
    link = "https://…/issues/7"            # optional, as the pattern is

A finding counts as expected only where each of its divergences matches an entry: what is new beside a known one stays a
failure. Entries that a run never met are reported too, for they are fixed, or wrong.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compare.catalogue import CONTRACTS
from harness.compare.verdict import Divergence, Verdict
from harness.errors import DefinitionError
from harness.program.text import format_program
from harness.report.sentence import what_went_wrong

_KEYS = ("contract", "pattern", "reason", "link")


@dataclass(frozen=True, slots=True)
class KnownDivergence:
    """One entry of a file of known divergences."""

    contract: str
    reason: str
    pattern: str = ""
    link: str = ""

    def __str__(self) -> str:
        """Name the contract and the reason, in one line."""
        return f"{self.contract}: {self.reason}{f' ({self.link})' if self.link else ''}"

    def explains(self, verdict: Verdict, divergence: Divergence) -> bool:
        """Tell whether this entry is about one divergence of a verdict."""
        if self.contract not in divergence.contracts:
            return False
        text = f"{what_went_wrong(verdict, divergence)}\n{format_program(verdict.program)}"
        return re.search(self.pattern, text) is not None


def expected(verdict: Verdict, known: Sequence[KnownDivergence]) -> tuple[KnownDivergence, ...]:
    """Give the entries that explain a finding; none at all unless they explain all of it."""
    found: dict[KnownDivergence, None] = {}
    for divergence in verdict.divergences:
        entry = next((each for each in known if each.explains(verdict, divergence)), None)
        if entry is None:
            return ()
        found[entry] = None
    return tuple(found)


def load_known(path: Path) -> tuple[KnownDivergence, ...]:
    """Read a file of known divergences; DefinitionError of one sentence where it makes no sense."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"{path}: the known divergences cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: the known divergences are no TOML: {error}") from error
    entries = table.get("divergence")
    if set(table) - {"divergence"} or not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise DefinitionError(f"{path}: a file of known divergences is a list of tables [[divergence]]")
    return tuple(_entry(path, number, each) for number, each in enumerate(entries, 1))


def _entry(path: Path, number: int, table: Mapping[str, Any]) -> KnownDivergence:
    where = f"{path}: divergence {number}"
    for key, value in table.items():
        if key not in _KEYS:
            raise DefinitionError(f"{where}: {key!r} is no key; the keys are {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value.strip():
            raise DefinitionError(f"{where}: {key!r} must be a text that is not empty, not {value!r}")
    for key in ("contract", "reason"):
        if key not in table:
            raise DefinitionError(f"{where}: {key!r} is missing")
    if table["contract"] not in CONTRACTS:
        raise DefinitionError(f"{where}: there is no contract {table['contract']!r}; see: python -m harness contracts")
    try:
        re.compile(table.get("pattern", ""))
    except re.error as error:
        raise DefinitionError(f"{where}: {table['pattern']!r} is no regular expression: {error}") from error
    return KnownDivergence(**table)
