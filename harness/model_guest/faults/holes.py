"""What goes wrong with holes that are punched into files."""

from __future__ import annotations

from harness.model_guest.faults.fault import Fault

_BREAKS = ("file.punch-hole",)

HOLES = (
    Fault("punch-keeps-mappings", "a page that is punched out of a file stays where it is mapped", _BREAKS),
    Fault("punch-forgets-others", "a hole is taken from the mappings of who punches it alone", _BREAKS),
    Fault("punch-takes-copies", "a hole takes the private copies of its pages with it, as truncation does", _BREAKS),
    Fault("punch-keeps-cache", "what is punched out of a file is unmapped, and the file has it still", _BREAKS),
    Fault("punch-leaves-parts", "of a page that is punched in part nothing is zeroed", _BREAKS),
    Fault("punch-rounds-out", "a page that is punched in part goes as a whole", _BREAKS),
    Fault("punch-forgets-last-page", "the last whole page of a hole stays", _BREAKS),
    Fault("punch-cuts-size", "a hole that reaches to the end of its file makes it shorter", _BREAKS),
    Fault("punch-keeps-tlb", "no flush after a hole was punched", (*_BREAKS, "tlb.no-stale")),
    Fault("punch-keeps-hold", "the page cache keeps its hold of pages that were punched out", ("conserve.frames",)),
    Fault("remove-is-dontneed", "MADV_REMOVE takes pages from who asks, and the file has them still", _BREAKS),
    Fault("remove-forgets-offset", "MADV_REMOVE punches as if every mapping began where its file does", _BREAKS),
)
