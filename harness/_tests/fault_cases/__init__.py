"""For every fault of the toy kernel a program that shows it, in families as in `harness/model_guest/faults`."""

from __future__ import annotations

from harness._tests.fault_cases import (
    accounts,
    arguments,
    early_pages,
    file_pages,
    holes,
    huge_pages,
    kernel_access,
    mappings,
    sharing,
    swap,
    teardown,
)
from harness._tests.fault_cases.case import Case

CASES: dict[str, Case] = {
    **accounts.CASES,
    **arguments.CASES,
    **early_pages.CASES,
    **file_pages.CASES,
    **holes.CASES,
    **huge_pages.CASES,
    **kernel_access.CASES,
    **mappings.CASES,
    **sharing.CASES,
    **swap.CASES,
    **teardown.CASES,
}
