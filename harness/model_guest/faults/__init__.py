"""The catalogue of planted faults: kernel bugs that the contracts must catch.

Each fault changes one decision in one place of the toy kernel. The place is marked with a comment
`# planted: …` beside the name, so that `grep -rn '"cow-shares"' harness/model_guest` finds it.

The sentences are those of the fault table of the contracts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.errors import DefinitionError
from harness.model_guest.faults.fault import Fault
from harness.model_guest.faults.file_pages import FILE_PAGES
from harness.model_guest.faults.kernel_access import KERNEL_ACCESS
from harness.model_guest.faults.mappings import MAPPINGS
from harness.model_guest.faults.sharing import SHARING
from harness.model_guest.faults.teardown import TEARDOWN

__all__ = ["FAULTS", "Fault", "check_names"]

FAULTS: dict[str, Fault] = {fault.name: fault for fault in (*TEARDOWN, *SHARING, *MAPPINGS, *FILE_PAGES, *KERNEL_ACCESS)}
"""Every fault that can be planted, by name."""


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Give the names as a set. Raises DefinitionError where one is not in the catalogue."""
    chosen = frozenset(names)
    for name in sorted(chosen - FAULTS.keys()):
        close = difflib.get_close_matches(name, FAULTS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DefinitionError(f"there is no fault {name!r}; {hint}`harness.model_guest.FAULTS` lists all {len(FAULTS)}")
    return chosen
