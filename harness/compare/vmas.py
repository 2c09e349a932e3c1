"""VMAs page by page: whether the kernel merges neighbours is its own business, what each page is, is not."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.adopt import expected_vmas
from harness.model.machine import Machine
from harness.model.vma import Vma
from harness.program.files import FILES
from harness.program.trace import ProcessSeen
from harness.program.units import Prot, in_windows


@dataclass(frozen=True, slots=True)
class PageKind:
    """What a VMA says of one of its pages. `file_page` counts from the start of the guest's file, in pages; `file` names
    it if it is one of the program's.
    """

    prot: Prot
    shared: bool
    file_page: int | None
    file: str | None = None

    def __str__(self) -> str:
        """Write it as a short phrase: "rw private anon", "rx private file page 9"."""
        backing = "anon" if self.file_page is None else f"{self.file or 'file'} page {self.file_page}"
        return f"{self.prot} {'shared' if self.shared else 'private'} {backing}"


@dataclass(frozen=True, slots=True)
class VmaDifference:
    """The first page of a process whose VMA is not as it should be."""

    vpn: int
    expected: str
    observed: str


def compare_vmas(machine: Machine, number: int, seen: ProcessSeen, bases: dict[str, int]) -> VmaDifference | None:
    """Compare the VMAs of one process over the observed pages.

    `bases` holds, for each image window and each shared anonymous memory, where in the guest's file it begins (in pages):
    that is the linker's, or the kernel's, choice, so the first VMA of each teaches it, and all others must agree. A
    kernel may also show shared anonymous memory as no file at all.
    """
    if seen.vmas is None:
        return None
    observed = {
        vma.vpn + i: PageKind(vma.prot, vma.shared, None if vma.pgoff is None else vma.pgoff + i, vma.file)
        for vma in seen.vmas
        for i in range(vma.npages)
    }
    expected = _expected(machine, number, observed, bases)
    if not machine.semantics.maps_tell_files:
        expected, observed = _without_files(expected), _without_files(observed)
    if not machine.semantics.maps_tell_bss:
        observed = {vpn: _as_anonymous(kind, expected.get(vpn)) for vpn, kind in observed.items()}
    for vpn in seen.pages:
        if expected.get(vpn) != observed.get(vpn):
            words = [str(each) if each else "not mapped" for each in (expected.get(vpn), observed.get(vpn))]
            return VmaDifference(vpn, *words)
    return None


def _as_anonymous(kind: PageKind, expected: PageKind | None) -> PageKind:
    """Read as anonymous what should be, and is shown as a page of a file that is none of the program's: its image."""
    is_bss = expected is not None and expected.file_page is None and kind.file is None and not kind.shared
    return PageKind(kind.prot, kind.shared, None) if is_bss else kind


def _without_files(kinds: dict[int, PageKind]) -> dict[int, PageKind]:
    return {vpn: PageKind(kind.prot, kind.shared, None) for vpn, kind in kinds.items()}


def _expected(machine: Machine, number: int, observed: dict[int, PageKind], bases: dict[str, int]) -> dict[int, PageKind]:
    found: dict[int, PageKind] = {}
    for vma in expected_vmas(machine, number):
        for vpn in in_windows(vma.start, vma.end):
            found[vpn] = _page_kind(machine, vma, vpn, observed.get(vpn), bases)
    return found


def _page_kind(machine: Machine, vma: Vma, vpn: int, got: PageKind | None, bases: dict[str, int]) -> PageKind:
    if vma.file is None:
        return PageKind(vma.prot, vma.shared, None)
    if vma.file in FILES:  # a guest that cannot tell which file it is says nothing false
        return PageKind(vma.prot, vma.shared, vma.file_page(vpn), vma.file if got and got.file else None)
    if got is not None and got.file_page is not None:
        bases.setdefault(vma.file, got.file_page - vma.file_page(vpn))
    elif machine.cache.file(vma.file).is_anonymous and vma.file not in bases:
        return PageKind(vma.prot, vma.shared, None)
    return PageKind(vma.prot, vma.shared, bases.get(vma.file, 0) + vma.file_page(vpn))
