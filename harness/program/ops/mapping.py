"""Operations that change what memory a process has: mmap(2) and its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.program.ops.base import Advice, Backing, Misuse, Npages, Op, Placement, Populate, Sharing
from harness.program.units import Address, PageRange, Prot


@dataclass(frozen=True, slots=True)
class Map(Op):
    """mmap(2) at the range: with MAP_FIXED, which replaces whatever it held, with MAP_FIXED_NOREPLACE, or with an address
    that is a hint. Where the mapping comes to be elsewhere it goes again at once, and the outcome is EEXIST. With
    MAP_POPULATE the pages come at once, as far as they can.
    """

    verb: ClassVar[str] = "map"
    code: ClassVar[int] = 1
    optional: ClassVar[int] = 2
    pages: PageRange
    prot: Prot
    sharing: Sharing = Sharing.PRIVATE
    backing: Backing = Backing.ANON
    placement: Placement = Placement.FIXED
    populate: Populate = Populate.NO


@dataclass(frozen=True, slots=True)
class Mirror(Map):
    """mmap(2) of each page by itself, all of them onto the same page of a file: the one with which `backing` begins."""

    verb: ClassVar[str] = "mirror"
    code: ClassVar[int] = 50

    @property
    def parts(self) -> tuple[Map, ...]:
        """The calls that are made, one after the other, up to the first that fails."""
        first, end = self.pages.first, self.pages.first + len(self.pages.vpns)
        return tuple(
            Map(self.process, PageRange(self.pages.window, page, 1), self.prot, self.sharing, self.backing)
            for page in range(first, end)
        )


@dataclass(frozen=True, slots=True)
class Unmap(Op):
    """munmap(2) of a range, which may have holes."""

    verb: ClassVar[str] = "unmap"
    code: ClassVar[int] = 2
    pages: PageRange


@dataclass(frozen=True, slots=True)
class Protect(Op):
    """mprotect(2) of a range, which may have no length; ENOMEM where a page of it is not mapped."""

    verb: ClassVar[str] = "protect"
    code: ClassVar[int] = 3
    pages: PageRange
    prot: Prot


@dataclass(frozen=True, slots=True)
class Remap(Op):
    """mremap(2) of `pages`. Where `to` begins at the same page it is in place, to the length of `to`; else with
    MREMAP_MAYMOVE | MREMAP_FIXED, and what `to` held is replaced. Where `pages` has no length, `to` becomes a second
    mapping of the same memory.
    """

    verb: ClassVar[str] = "remap"
    code: ClassVar[int] = 14
    pages: PageRange
    to: PageRange

    @property
    def in_place(self) -> bool:
        """Tell whether the pages stay where they are."""
        return (self.pages.window, self.pages.first) == (self.to.window, self.to.first)

    @property
    def kept(self) -> int:
        """How many pages the old and the new range both have: those that keep their bytes."""
        return min(len(self.pages.vpns), len(self.to.vpns))


@dataclass(frozen=True, slots=True)
class Roam(Remap):
    """mremap(2) of `pages` to the length of `to` with MREMAP_MAYMOVE alone, which moves them to where the kernel likes if
    they cannot have that length where they are; and from where they are then to `to`, as `remap` does it.

    `to` is none of the pages that they have at first, or would have if they stayed.
    """

    verb: ClassVar[str] = "roam"
    code: ClassVar[int] = 55

    @property
    def may_meet(self) -> bool:
        """Tell whether `to` has a page in common with the old range, or with the new one where the pages were."""
        most = max(len(self.pages.vpns), len(self.to.vpns))
        return self.pages.vpn < self.to.vpns.stop and self.to.vpn < self.pages.vpn + most


@dataclass(frozen=True, slots=True)
class Advise(Op):
    """madvise(2) of a range; ENOMEM where a page of it is not mapped, after all that is has been advised."""

    verb: ClassVar[str] = "advise"
    code: ClassVar[int] = 15
    pages: PageRange
    advice: Advice


@dataclass(frozen=True, slots=True)
class Brk(Op):
    """brk(2): the program break moves to `at`, an address of the window heap, at whose start it is after exec; or not, to
    one of the window data, which is below that start.
    """

    verb: ClassVar[str] = "brk"
    code: ClassVar[int] = 16
    at: Address


@dataclass(frozen=True, slots=True)
class Scratch(Op):
    """mmap(2) of `npages` where the kernel likes, the last of them by itself; both mappings are looked through for anything
    but zeroes, filled, and unmapped.
    """

    verb: ClassVar[str] = "scratch"
    code: ClassVar[int] = 17
    npages: Npages


@dataclass(frozen=True, slots=True)
class Try(Op):
    """A system call with arguments that it refuses, made of the place and length of `pages` where it takes any."""

    verb: ClassVar[str] = "try"
    code: ClassVar[int] = 18
    misuse: Misuse
    pages: PageRange
