"""Programs on which the faults of `harness.model_guest.faults.huge_pages` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case
from harness.model_guest.features import Feature

_BEGIN = "p0: map w 1026 rw private anon\np0: store w[1] 0x11\n"


def _case(shows_in: str, more: str = "", *, begin: str = _BEGIN) -> Case:
    return Case(shows_in, begin + more, features=(Feature.HUGE_PAGES,))


CASES = {
    "huge-not-zeroed": _case("outcomes", "p0: load w[256]"),
    "huge-split-loses-cow": _case("outcomes", "p0: fork p1\np0: unmap w[0]\np0: store w[1] 0x22\np1: load w[1]"),
    "huge-split-forgets-counts": _case("observations", "p0: fork p1\np0: unmap w[0]\nobserve"),
    "huge-split-leaks-table": _case("after", "p0: unmap w[0]"),
    "huge-cow-copies-first-page": _case("outcomes", "p0: fork p1\np0: store w[0] 0x22\np0: load w[1]"),
    "huge-sole-owner-copies": _case("observations", "p0: fork p1\nobserve\np1: exit 0\np0: store w[1] 0x22"),
    "huge-reuse-looks-at-first": _case("outcomes", "p0: fork p1\np1: store w[0] 0x22\np0: store w[1] 0x33\np1: load w[1]"),
    "huge-fork-keeps-writable": _case("outcomes", "p0: fork p1\np0: store w[1] 0x22\np1: load w[1]"),
    "huge-fork-counts-once": _case("observations", "p0: fork p1"),
    "huge-teardown-frees-first-only": _case("after"),
    "huge-unmap-part-frees-all": _case("observations", "p0: unmap w[0]"),
    "huge-protect-part-protects-all": _case("outcomes", "p0: protect w[0] r\np0: store w[1] 0x22"),
    "huge-protect-part-ignored": _case("outcomes", "p0: protect w[0..1] r\np0: store w[1] 0x22"),
    "huge-dontneed-part-ignored": _case("outcomes", "p0: advise w[1] dontneed\np0: load w[1]"),
    "huge-keeps-tlb": _case("outcomes", "p0: protect w[0..1] r\np0: store w[1] 0x22"),
    "huge-remap-loses-offset": _case("observations", "p0: remap w[1] v[0]"),
    "huge-mapped-beyond-vma": _case("observations", begin="p0: map w 500 rw private anon\np0: store w[1] 0x11"),
    "huge-replaces-small": _case(
        "outcomes",
        "p0: remap w[0..255] w[0..1025]\np0: store w[256] 0x22\np0: fork p1\np1: load w[1]",
        begin="p0: map w 256 rw private anon\np0: store w[1] 0x11\n",
    ),
}
