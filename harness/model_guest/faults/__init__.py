"""The catalogue of planted faults: kernel bugs that the contracts must catch.

Each fault changes one decision in one place of the toy kernel. The place is marked with a comment
`# planted: …` beside the name, so that `grep -rn '"cow-shares"' harness/model_guest` finds it.

The sentences are those of the fault table of the contracts.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from harness.errors import DefinitionError
from harness.model_guest.faults.accounts import ACCOUNTS
from harness.model_guest.faults.arguments import ARGUMENTS
from harness.model_guest.faults.early_pages import EARLY_PAGES
from harness.model_guest.faults.fault import Fault
from harness.model_guest.faults.file_pages import FILE_PAGES
from harness.model_guest.faults.holes import HOLES
from harness.model_guest.faults.huge_pages import HUGE_PAGES
from harness.model_guest.faults.kernel_access import KERNEL_ACCESS
from harness.model_guest.faults.mappings import MAPPINGS
from harness.model_guest.faults.sharing import SHARING
from harness.model_guest.faults.swap import SWAP
from harness.model_guest.faults.teardown import TEARDOWN
from harness.model_guest.features import Feature, Features

__all__ = ["FAULTS", "Fault", "check_names", "features_of", "unknown_fault"]

_ALL = (
    *TEARDOWN,
    *SHARING,
    *MAPPINGS,
    *ARGUMENTS,
    *FILE_PAGES,
    *HOLES,
    *EARLY_PAGES,
    *HUGE_PAGES,
    *SWAP,
    *KERNEL_ACCESS,
    *ACCOUNTS,
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault that can be planted, by name."""

_FAULTS_OF = {Feature.PREFAULT: EARLY_PAGES, Feature.HUGE_PAGES: HUGE_PAGES, Feature.SWAP: SWAP}
"""The faults that take a kernel which has a feature."""


def features_of(names: Collection[str]) -> Features:
    """Give the features without which a kernel cannot have these faults."""
    return frozenset(feature for feature, faults in _FAULTS_OF.items() if any(fault.name in names for fault in faults))


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Give the names as a set. Raises DefinitionError where one is not in the catalogue."""
    chosen = frozenset(names)
    for name in sorted(chosen - FAULTS.keys()):
        raise DefinitionError(unknown_fault(name, FAULTS, guest="model"))
    return chosen


def unknown_fault(name: str, known: Iterable[str], *, guest: str) -> str:
    """Say that a guest has no fault of this name, which was meant, and where all are listed."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    listed = f"`python -m harness faults --guest {guest} --list` lists all {len(known)}"
    return f"the guest {guest!r} has no fault {name!r}; {hint}{listed}"
