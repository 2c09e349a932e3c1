"""Page tables of x86-64 and arm64, walked in a copy or a view of physical memory.

Both have four levels of 512 entries of eight bytes (arm64: 4 KiB granule, 48 bits); levels are counted as on x86-64,
so that level 4 is the root and level 1 holds the entries of 4 KiB pages::

     47      39 38      30 29      21 20      12 11           0
    +----------+----------+----------+----------+--------------+
    | level 4  | level 3  | level 2  | level 1  |    offset    |
    +----------+----------+----------+----------+--------------+

An entry of level 3 or 2 may be a *leaf* of 1 GiB or 2 MiB. What an entry of a higher level forbids, no lower one allows.
An entry that the hardware takes for absent may hold a frame all the same: kernels keep a page that is protected away
(PROT_NONE) so. Which bit says so is the kernel's own affair: see `Held`.

Sources: Intel SDM volume 3A, 4.5; Arm ARM DDI 0487, D8.3; Linux arch/x86/include/asm/pgtable_types.h and pgtable-invert.h,
arch/arm64/include/asm/pgtable-prot.h.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Protocol

ENTRIES = 512
ROOT_LEVEL = 4
PAGE_SHIFT = 12
MOST_TABLES = 1024
"""More tables than this in one address space are a broken one: 2 GiB of pages."""
_FRAME = 0x000F_FFFF_FFFF_F000
_ADDRESS = 0x0000_FFFF_FFFF_F000


class BrokenTables(Exception):
    """The tables of a process lead nowhere, or never end."""


class Memory(Protocol):
    """Physical memory: `words` are its u64 from physical address `start` on."""

    words: memoryview
    start: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry that holds a page, or 512 of them (`level` 2) or 262,144 (`level` 3), with the rights of the whole path.

    `present` is what the hardware takes it for; a leaf that is not present is held by the kernel alone.
    """

    frame: int
    level: int
    present: bool
    user: bool
    writable: bool
    executable: bool
    accessed: bool
    dirty: bool

    @property
    def npages(self) -> int:
        """Count the pages of 4 KiB."""
        return 1 << 9 * (self.level - 1)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the entries on the way down have left of the rights."""

    user: bool = True
    writable: bool = True
    executable: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """How a kernel marks an entry that is not present and holds a frame: some bit of `bits` is set, and the frame may be
    `inverted`.
    """

    bits: int
    inverted: bool = False


class Format(Protocol):
    """How one architecture writes its entries."""

    @property
    def user_entries(self) -> int:
        """How many entries of the root belong to user space."""
        ...

    def table(self, entry: int, level: int, rights: Rights) -> tuple[int, Rights] | None:
        """Give the frame of the table that `entry` of `level` points to, and the rights left; None for no table."""
        ...

    def leaf(self, entry: int, level: int, rights: Rights) -> Leaf | None:
        """Give the leaf that `entry` of `level` is; None if it is none."""
        ...

    @property
    def held(self) -> Held | None:
        """How entries are marked that are not present and hold a frame; None where it is not known."""
        ...

    def holding(self, held: Held) -> Format:
        """Return this format with such marks."""
        ...


@dataclass(frozen=True, slots=True)
class X86:
    """x86-64 with four levels."""

    held: Held | None = None
    user_entries: int = field(default=256, init=False)

    def table(self, entry: int, level: int, rights: Rights) -> tuple[int, Rights] | None:
        """See `Format`."""
        if not entry & 1 or level == 1 or (level < ROOT_LEVEL and entry & 0x80):
            return None
        return (entry & _FRAME) >> PAGE_SHIFT, _x86_rights(entry, rights)

    def holding(self, held: Held) -> X86:
        """See `Format`."""
        return replace(self, held=held)

    def leaf(self, entry: int, level: int, rights: Rights) -> Leaf | None:
        """See `Format`."""
        is_large = level in (2, 3) and bool(entry & 0x80)
        if not (level == 1 or is_large) or not entry:
            return None
        present = bool(entry & 1)
        if not present and not (self.held and entry & self.held.bits):
            return None
        value = ~entry if not present and self.held and self.held.inverted else entry
        left = _x86_rights(entry, rights) if present else Rights(user=False, writable=False, executable=False)
        frame = _aligned((value & _FRAME) >> PAGE_SHIFT, level)
        return Leaf(
            frame, level, present, left.user, left.writable, left.executable, bool(entry & 0x20), bool(entry & 0x40)
        )


def _x86_rights(entry: int, rights: Rights) -> Rights:
    return Rights(
        rights.user and bool(entry & 4), rights.writable and bool(entry & 2), rights.executable and not entry >> 63
    )


@dataclass(frozen=True, slots=True)
class Arm64:
    """arm64 with a granule of 4 KiB and 48 bits, the table of user space (TTBR0)."""

    held: Held | None = None
    user_entries: int = field(default=ENTRIES, init=False)

    def table(self, entry: int, level: int, rights: Rights) -> tuple[int, Rights] | None:
        """See `Format`."""
        if level == 1 or entry & 3 != 3:
            return None
        left = Rights(
            rights.user and not entry >> 61 & 1,  # APTable
            rights.writable and not entry >> 62 & 1,
            rights.executable and not entry >> 60 & 1,  # UXNTable
        )
        return (entry & _ADDRESS) >> PAGE_SHIFT, left

    def holding(self, held: Held) -> Arm64:
        """See `Format`."""
        return replace(self, held=held)

    def leaf(self, entry: int, level: int, rights: Rights) -> Leaf | None:
        """See `Format`."""
        kind = entry & 3
        present = kind == 3 if level == 1 else kind == 1 and level in (2, 3)
        held = not present and not entry & 1 and level < ROOT_LEVEL and bool(self.held and entry & self.held.bits)
        if not (present or held):
            return None
        read_only = bool(entry & 0x80)  # AP[2]
        modifier = bool(entry >> 51 & 1)  # DBM: who may write, and has not, is read-only and has this set
        frame = _aligned((entry & _ADDRESS) >> PAGE_SHIFT, level)
        return Leaf(
            frame=frame,
            level=level,
            present=present,
            user=present and rights.user and bool(entry & 0x40),  # AP[1]
            writable=present and rights.writable and not read_only,
            executable=present and rights.executable and not entry >> 54 & 1,  # UXN
            accessed=bool(entry & 0x400),
            dirty=bool(entry >> 55 & 1) or (modifier and not read_only),  # Linux keeps a bit of its own
        )


def _aligned(frame: int, level: int) -> int:
    return frame & -(1 << 9 * (level - 1))


LINUX_X86 = X86(Held(1 << 8, inverted=True))
"""_PAGE_PROTNONE is the global bit, and the frame of such an entry is inverted (L1TF)."""
LINUX_ARM64 = Arm64(Held(1 << 58))
"""PTE_PROT_NONE."""


def page_table_format(arch: str, banner: str) -> Format | None:
    """Choose the format for a kernel that calls itself `banner` (/proc/version); None for an unknown architecture."""
    is_linux = banner.startswith("Linux version ")
    if arch == "x86_64":
        return LINUX_X86 if is_linux else X86()
    if arch == "arm64":
        return LINUX_ARM64 if is_linux else Arm64()
    return None


def with_held(form: Format, before: int, after: int) -> Format:
    """Return `form` with the marks of `after`: the entry of a page whose entry was `before`, now that its process may not
    touch it any more. It stays as it is where `after` is present all the same, or holds no frame.
    """
    frame = form.leaf(before, 1, Rights())
    if frame is None or not after or form.leaf(after, 1, Rights()) is not None:
        return form
    for inverted in (False, True):
        if (~after if inverted else after) & _ADDRESS == before & _ADDRESS:
            return form.holding(Held(after & ~(_FRAME | _RIGHTS) or _ADDRESS, inverted))
    return form


_RIGHTS = 0x8000_0000_0000_0067
"""What x86-64 says of the rights to a page and of its use, which is no mark: one may be kept, and another not."""


def entry_of(memory: Memory, form: Format, root: int, vpn: int) -> int | None:
    """Return the entry of the lowest level for page `vpn`, whatever it holds; None where no table has one."""
    frame, rights = root, Rights()
    for level in range(ROOT_LEVEL, 0, -1):
        table = read_table(memory, frame)
        if table is None:
            return None
        entry = table[vpn >> 9 * (level - 1) & ENTRIES - 1]
        if level == 1:
            return entry
        step = form.table(entry, level, rights)
        if step is None:
            return None
        frame, rights = step
    return None


def read_table(memory: Memory, frame: int) -> memoryview | None:
    """Return the 512 entries of the table in `frame`; None where there is no memory."""
    at = ((frame << PAGE_SHIFT) - memory.start) >> 3
    return memory.words[at : at + ENTRIES] if 0 <= at <= len(memory.words) - ENTRIES else None


def walk(memory: Memory, form: Format, root: int, vpn: int) -> Leaf | None:
    """Return the leaf behind the virtual page `vpn` of the address space whose root table is the frame `root`.

    Of a large leaf it gives the large leaf; `frame_of` then tells the frame of the page. None where nothing is mapped, or
    a table lies where there is no memory.
    """
    frame, rights = root, Rights()
    for level in range(ROOT_LEVEL, 0, -1):
        table = read_table(memory, frame)
        if table is None:
            return None
        entry = table[vpn >> 9 * (level - 1) & ENTRIES - 1]
        leaf = form.leaf(entry, level, rights)
        if leaf is not None:
            return leaf
        step = form.table(entry, level, rights)
        if step is None:
            return None
        frame, rights = step
    return None


def frame_of(leaf: Leaf, vpn: int) -> int:
    """Return the frame of page `vpn`, which `leaf` maps."""
    return leaf.frame + vpn % leaf.npages


@dataclass(slots=True)
class Space:
    """All that one address space maps in user space: leaves by their first virtual page, and the frames of its tables.

    A table that is reached twice is in `tables` twice.
    """

    leaves: dict[int, Leaf] = field(default_factory=dict)
    tables: list[int] = field(default_factory=list)
    has_large: bool = False
    """Whether some leaf is of more than one page."""
    _holds: Counter[int] | None = None

    @property
    def holds(self) -> Counter[int]:
        """Count the leaves that hold each frame; of a large one its first."""
        if self._holds is None:
            self._holds = Counter(leaf.frame for leaf in self.leaves.values())
        return self._holds

    def leaf(self, vpn: int) -> Leaf | None:
        """Find the leaf that maps page `vpn`."""
        found = self.leaves.get(vpn)
        if found is not None or not self.has_large:
            return found
        for npages in (ENTRIES, ENTRIES * ENTRIES):
            found = self.leaves.get(vpn - vpn % npages)
            if found is not None and found.npages >= npages:
                return found
        return None


_Place = tuple[int, int, int, Rights]
"""A table: its frame, its level, the first page that it may map, and the rights that are left on the way to it."""


@dataclass(frozen=True, slots=True)
class _Table:
    """What one table held: its bytes, its leaves by their first virtual page, and the tables below it."""

    content: bytes
    leaves: dict[int, Leaf]
    below: list[_Place]


class Walker:
    """Walks address spaces, and remembers what each table held: most are as they were at the last look."""

    def __init__(self, memory: Memory, form: Format) -> None:
        self.memory = memory
        self._form = form
        self._known: dict[_Place, _Table] = {}
        self._spaces: dict[int, tuple[Space, list[bytes]]] = {}  # the last of each root, and what its tables held
        self._leaves: dict[tuple[int, int, Rights], Leaf | None] = {}

    def space(self, root: int) -> Space:
        """Walk all of user space below the root table `root`. Raises BrokenTables.

        Where nothing has changed since the last time, it is the same object.
        """
        if (last := self._spaces.get(root)) is not None and self._holds(*last):
            return last[0]
        space, contents = Space(), []
        waiting = [(root, ROOT_LEVEL, 0, Rights())]
        while waiting:
            place = waiting.pop()
            words = read_table(self.memory, place[0])
            if words is None:
                raise BrokenTables(f"a table of level {place[1]} lies in frame {place[0]:#x}, where there is no memory")
            space.tables.append(place[0])
            if len(space.tables) > MOST_TABLES:
                raise BrokenTables(f"there are more than {MOST_TABLES} tables")
            content = words.tobytes()
            contents.append(content)
            table = self._known.get(place)
            if table is None or table.content != content:
                table = self._known[place] = self._read(content, *place)
            space.leaves |= table.leaves
            space.has_large |= place[1] > 1 and bool(table.leaves)
            waiting += table.below
        for known, most in ((self._known, _MOST_KNOWN), (self._spaces, _MOST_KNOWN), (self._leaves, _MOST_LEAVES)):
            if len(known) > most:
                known.clear()
        self._spaces[root] = space, contents
        return space

    def _holds(self, space: Space, contents: list[bytes]) -> bool:
        """Tell whether the tables of a space hold what they held."""
        for frame, content in zip(space.tables, contents, strict=True):
            words = read_table(self.memory, frame)
            if words is None or words.tobytes() != content:
                return False
        return True

    def _read(self, content: bytes, _frame: int, level: int, first: int, rights: Rights) -> _Table:
        table = _Table(content, {}, [])
        count = self._form.user_entries if level == ROOT_LEVEL else ENTRIES
        entries = memoryview(content).cast("Q")[:count].tolist()
        for index, entry in enumerate(entries):
            if not entry:
                continue
            vpn = first + (index << 9 * (level - 1))
            leaf = self._leaf(entry, level, rights)
            if leaf is not None:
                table.leaves[vpn] = leaf
            elif step := self._form.table(entry, level, rights):
                table.below.append((step[0], level - 1, vpn, step[1]))
        return table

    def _leaf(self, entry: int, level: int, rights: Rights) -> Leaf | None:
        """Give the leaf that an entry is, which mostly was one before."""
        key = (entry, level, rights)
        if key not in self._leaves:
            self._leaves[key] = self._form.leaf(entry, level, rights)
        return self._leaves[key]


_MOST_KNOWN = 512
_MOST_LEAVES = 1 << 14


def read_space(memory: Memory, form: Format, root: int) -> Space:
    """Walk all of user space below the root table `root`. Raises BrokenTables."""
    return Walker(memory, form).space(root)
