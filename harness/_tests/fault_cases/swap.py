"""Programs on which the faults of `harness.model_guest.faults.swap` show."""

from __future__ import annotations

from harness._tests.fault_cases.case import Case
from harness.model_guest.features import Feature

_BEGIN = "p0: map a 2 rw private anon\np0: fill a[0] 0x11\n"
_OUT = "p0: advise a[0] pageout\n"


def _case(shows_in: str, more: str = "", *, begin: str = _BEGIN + _OUT) -> Case:
    return Case(shows_in, begin + more, features=(Feature.SWAP,))


CASES = {
    "swap-writes-half": _case("outcomes", "p0: load a[0]+2048"),
    "swap-writes-once": _case("outcomes", f"p0: store a[0] 0x22\n{_OUT}p0: load a[0]"),
    "swap-fork-forgets-slot": _case("outcomes", "p0: fork p1\np0: load a[0]\np0: store a[0] 0x22\np1: load a[0]"),
    "swap-in-frees-slot": _case("outcomes", "p0: fork p1\np0: store a[0] 0x22\np1: load a[0]"),
    "swap-in-takes-shared": _case("outcomes", "p0: fork p1\np0: store a[0] 0x22\np1: load a[0]"),
    "swap-in-copies-each": _case("observations", "p0: fork p1\np0: load a[0]\np1: load a[0]"),
    "swap-in-keeps-slot": _case("after", "p0: load a[0]"),
    "swap-exit-leaks-slots": _case("after"),
    "swap-unmap-leaks-slots": _case("after", "p0: unmap a[0]"),
    "swap-dontneed-keeps": _case("outcomes", "p0: advise a[0] dontneed\np0: load a[0]"),
    "swap-remap-forgets": _case("outcomes", "p0: remap a[0] b[0]\np0: load b[0]"),
    "swap-keeps-protection": _case("outcomes", "p0: protect a[0] r\np0: load a[0]\np0: store a[0] 0x22"),
    "swap-in-comes-clean": _case(
        "outcomes",
        "p0: fork p1\np0: load a[0]\np1: load a[0]\np1: advise a[0] free\np1: exit 0\n" + _OUT + "p0: load a[0]",
    ),
    "swap-takes-fixed-buffer": _case(
        "outcomes", f"p0: fix a[0]\n{_OUT}p0: load a[0]\np0: deliver a[0] 0x33\np0: load a[0]", begin=_BEGIN
    ),
}
