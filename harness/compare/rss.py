"""The resident set of a process: what the kernel counts, held against what the page tables hold.

Inside the observed windows the model knows each page and of what kind it is; outside of them (the agent's text, its stack)
the guest's own page tables say how many there are. The zero page counts for nobody, an inaccessible page like any other.

Source: proc_pid_status(5); mm_counter and vm_normal_page for what is counted, and as what.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.frame import FrameKind
from harness.model.machine import Machine
from harness.program.image import SEGMENT_OF
from harness.program.trace import ProcessSeen, RssSeen


@dataclass(frozen=True, slots=True)
class ExpectedRss:
    """How many pages of a process are resident: of its own, of the file of its image, and of files that live in memory.

    Up to `unwatched` of those that count as the image's may be of files in memory: pages of wide windows, which nobody
    watches.
    """

    anonymous: int
    image: int
    shared: int
    unwatched: int = 0

    @property
    def files(self) -> tuple[tuple[int, int], ...]:
        """What RssFile and RssShmem may be: whether the image lives in memory too, the initramfs decides, and whether
        files in memory are told from others, the kernel's configuration (CONFIG_SHMEM, CONFIG_TMPFS).
        """
        both = self.image + self.shared
        most = min(self.unwatched, self.image)
        return (*((self.image - n, self.shared + n) for n in range(most + 1)), (0, both), (both, 0))

    def __str__(self) -> str:
        """Write it as a phrase."""
        return f"{self.anonymous} anonymous pages, {self.image} of the image, {self.shared} of files in memory"


def expected_rss(machine: Machine, number: int, seen: ProcessSeen) -> ExpectedRss | None:
    """Count the resident pages of live process `number`; None where it is not known which they are, and of what kind."""
    assert seen.rss is not None, "the guest shows it"
    if any(page.present is None for page in seen.pages.values()):
        return None
    space = machine.process(number).memory
    kinds = {FrameKind.ANON: seen.rss.anonymous_outside, FrameKind.CACHE: seen.rss.other_outside}
    shared = 0
    for vpn, page in seen.pages.items():
        pte = space.page_table.lookup(vpn) if page.present else None
        if pte is None or pte.frame.kind is FrameKind.ZERO:
            continue
        if pte.frame.kind not in kinds:
            return None
        vma = space.vmas.find(vpn)
        if pte.frame.kind is FrameKind.CACHE and vma is not None and vma.file not in SEGMENT_OF:
            shared += 1
        else:
            kinds[pte.frame.kind] += 1
    of_files = [vma for vma in space.vmas if vma.file is not None and vma.file not in SEGMENT_OF]
    unwatched = sum(vpn not in seen.pages for vma in of_files for vpn in vma.vpns)
    return ExpectedRss(kinds[FrameKind.ANON], kinds[FrameKind.CACHE], shared, unwatched)


def fits(expected: ExpectedRss, seen: RssSeen, *, slack: int) -> bool:
    """Tell whether each number that was counted is off by `slack` pages at most."""
    return abs(seen.anonymous - expected.anonymous) <= slack and any(
        abs(seen.file - file) <= slack and abs(seen.shared - shared) <= slack for file, shared in expected.files
    )
