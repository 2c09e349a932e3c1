"""VMAs page by page: whether the kernel merges neighbours is its own business, what each page is, is not."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.adopt import expected_vmas
from harness.model.machine import Machine
from harness.program.trace import ProcessSeen
from harness.program.units import Prot


@dataclass(frozen=True, slots=True)
class PageKind:
    """What a VMA says of one of its pages. `file_page` counts from the start of the guest's file, in pages."""

    prot: Prot
    shared: bool
    file_page: int | None

    def __str__(self) -> str:
        """Write it as a short phrase: "rw private anon", "rx private file page 9"."""
        backing = "anon" if self.file_page is None else f"file page {self.file_page}"
        return f"{self.prot} {'shared' if self.shared else 'private'} {backing}"


@dataclass(frozen=True, slots=True)
class VmaDifference:
    """The first page of a process whose VMA is not as it should be."""

    vpn: int
    expected: str
    observed: str


def compare_vmas(machine: Machine, number: int, seen: ProcessSeen, bases: dict[str, int]) -> VmaDifference | None:
    """Compare the VMAs of one process over the observed pages.

    `bases` holds, for each image window, where in the guest's file it begins (in pages): that is the linker's choice, so
    the first VMA of a window teaches it, and all others must agree.
    """
    if seen.vmas is None:
        return None
    observed = {
        vma.vpn + i: PageKind(vma.prot, vma.shared, None if vma.pgoff is None else vma.pgoff + i)
        for vma in seen.vmas
        for i in range(vma.npages)
    }
    expected = _expected(machine, number, observed, bases)
    for vpn in seen.pages:
        if expected.get(vpn) != observed.get(vpn):
            words = [str(each) if each else "not mapped" for each in (expected.get(vpn), observed.get(vpn))]
            return VmaDifference(vpn, *words)
    return None


def _expected(machine: Machine, number: int, observed: dict[int, PageKind], bases: dict[str, int]) -> dict[int, PageKind]:
    found: dict[int, PageKind] = {}
    for vma in expected_vmas(machine, number):
        for vpn in range(vma.start, vma.end):
            file_page = None
            if vma.file is not None:
                got = observed.get(vpn)
                if got is not None and got.file_page is not None:
                    bases.setdefault(vma.file, got.file_page - vma.file_page(vpn))
                file_page = bases.get(vma.file, 0) + vma.file_page(vpn)
            found[vpn] = PageKind(vma.prot, shared=False, file_page=file_page)
    return found
