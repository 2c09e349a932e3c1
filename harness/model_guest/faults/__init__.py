"""The catalogue of planted faults: kernel bugs that the contracts must catch.

Each fault changes one decision in one place of the toy kernel. The place is marked with a comment
`# planted: …` beside the name, so that `grep -rn '"cow-shares"' harness/model_guest` finds it.

The sentences are those of the fault table of the contracts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.errors import DefinitionError
from harness.model_guest.faults.accounts import ACCOUNTS
from harness.model_guest.faults.arguments import ARGUMENTS
from harness.model_guest.faults.early_pages import EARLY_PAGES
from harness.model_guest.faults.fault import Fault
from harness.model_guest.faults.file_pages import FILE_PAGES
from harness.model_guest.faults.kernel_access import KERNEL_ACCESS
from harness.model_guest.faults.mappings import MAPPINGS
from harness.model_guest.faults.sharing import SHARING
from harness.model_guest.faults.teardown import TEARDOWN

__all__ = ["FAULTS", "FAULTS_OF_PREFAULT", "Fault", "check_names"]

_ALL = (*TEARDOWN, *SHARING, *MAPPINGS, *ARGUMENTS, *FILE_PAGES, *EARLY_PAGES, *KERNEL_ACCESS, *ACCOUNTS)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault that can be planted, by name."""

FAULTS_OF_PREFAULT = frozenset(fault.name for fault in EARLY_PAGES)
"""The faults that take a kernel which prefaults."""


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Give the names as a set. Raises DefinitionError where one is not in the catalogue."""
    chosen = frozenset(names)
    for name in sorted(chosen - FAULTS.keys()):
        close = difflib.get_close_matches(name, FAULTS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DefinitionError(f"there is no fault {name!r}; {hint}`harness.model_guest.FAULTS` lists all {len(FAULTS)}")
    return chosen
