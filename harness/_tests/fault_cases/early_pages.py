"""Programs on which the faults of `harness.model_guest.faults.early_pages` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case
from harness.model_guest.features import Feature

CASES = {
    "prefault-keeps-bytes": Case("observations", "p0: map a 2 rw private anon", features=(Feature.PREFAULT,)),
    "prefault-counts-twice": Case("observations", "p0: map a 2 rw private anon", features=(Feature.PREFAULT,)),
    "prefault-of-wrong-page": Case("outcomes", "p0: load data[0]", features=(Feature.PREFAULT,)),
    "prefault-stores": Case("outcomes", "p0: load data[0]", features=(Feature.PREFAULT,)),
}
