"""Tables made by hand: each test says what stands in which frame."""

from __future__ import annotations

import pytest

from harness.introspect.page_walk import (
    LINUX_ARM64,
    LINUX_X86,
    X86,
    Arm64,
    BrokenTables,
    Format,
    Held,
    Leaf,
    Rights,
    Walker,
    entry_of,
    frame_of,
    read_space,
    walk,
    with_held,
)

FRAMES = 64
TABLE = 0x07  # x86-64: present, writable, user
ARM_TABLE = 0x03
ARM_PAGE = 0x443  # valid page, AP[1], AF
VPN = (1 << 27) + (2 << 18) + (3 << 9) + 4  # entries 1, 2, 3 and 4 of the four levels


class HandMade:
    """Memory of 64 frames from physical address `start` on."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.data = bytearray(FRAMES * 4096)
        self.words = memoryview(self.data).cast("Q")

    def put(self, frame: int, index: int, entry: int) -> None:
        self.words[(frame - self.start // 4096) * 512 + index] = entry


def path_to(leaf: int, *, table: int = TABLE, base: int = 0) -> HandMade:
    """Tables in frames 1 to 4 (from `base` on) that lead to the entry `leaf` for VPN."""
    memory = HandMade(base << 12)
    for level, index in ((1, 1), (2, 2), (3, 3)):
        memory.put(base + level, index, base + level + 1 << 12 | table)
    memory.put(base + 4, 4, leaf)
    return memory


def test_four_levels_lead_to_a_page() -> None:
    memory = path_to(9 << 12 | 0x67)

    leaf = walk(memory, X86(), 1, VPN)

    assert leaf == Leaf(9, 1, True, True, True, True, True, True)
    assert walk(memory, X86(), 1, VPN + 1) is None


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (0x05, {"user", "executable"}),
        (0x07, {"user", "executable", "writable"}),
        (0x03, {"executable", "writable"}),
        (0x25, {"user", "executable", "accessed"}),
        (0x47 | 1 << 63, {"user", "writable", "dirty"}),
        (
            0x8F7 | 1 << 58,
            {"user", "executable", "writable", "accessed", "dirty"},
        ),  # PAT, software bits and keys say nothing
    ],
)
def test_the_bits_of_an_entry_are_told_apart(entry: int, what: set[str]) -> None:
    leaf = walk(path_to(9 << 12 | entry), X86(), 1, VPN)

    names = ("user", "writable", "executable", "accessed", "dirty")
    assert leaf is not None
    assert ({name for name in names if getattr(leaf, name)}, leaf.frame) == (what, 9)


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize(("missing", "right"), [(2, "writable"), (4, "user")])
def test_what_a_table_forbids_no_entry_below_allows(level: int, missing: int, right: str) -> None:
    memory = path_to(9 << 12 | 0x67)
    memory.put(level, level, (level + 1) << 12 | TABLE & ~missing)

    leaf = walk(memory, X86(), 1, VPN)

    assert leaf is not None
    assert not getattr(leaf, right)


def test_large_pages_are_leaves_of_level_2_and_3() -> None:
    memory = path_to(0)
    memory.put(3, 3, 5 * 512 << 12 | 0xE7)
    two = walk(memory, X86(), 1, VPN)
    memory.put(2, 2, 3 * 512 * 512 << 12 | 0x1000 | 0xE5)  # bit 12 is PAT here, and no part of the frame
    one = walk(memory, X86(), 1, VPN)

    assert two is not None
    assert (two.level, two.npages, frame_of(two, VPN)) == (2, 512, 5 * 512 + 4)
    assert one is not None
    assert (one.level, one.npages, one.writable) == (3, 512 * 512, False)
    assert frame_of(one, VPN) == 3 * 512 * 512 + 3 * 512 + 4


def test_an_entry_that_is_not_present_may_hold_a_frame() -> None:
    inverted = (~(9 << 12) & 0x000F_FFFF_FFFF_F000) | 0x160
    memory = path_to(inverted)

    leaf = walk(memory, LINUX_X86, 1, VPN)

    assert leaf == Leaf(9, 1, False, False, False, False, True, True)
    assert walk(memory, X86(), 1, VPN) is None
    assert walk(path_to(9 << 12 | 0x200), X86(Held(0x200)), 1, VPN) == Leaf(9, 1, False, *[False] * 5)


def test_a_table_outside_of_memory_ends_the_walk() -> None:
    memory = path_to(9 << 12 | 0x67)
    memory.put(3, 3, 1 << 40 | TABLE)

    assert walk(memory, X86(), 1, VPN) is None
    assert walk(memory, X86(), FRAMES, VPN) is None
    with pytest.raises(BrokenTables, match="level 1 lies in frame 0x10000000, where there is no memory"):
        read_space(memory, X86(), 1)


def test_all_of_an_address_space_is_read_and_the_kernel_is_left_out() -> None:
    memory = path_to(9 << 12 | 0x67)
    memory.put(4, 511, 10 << 12 | 0x65)
    memory.put(3, 4, 7 * 512 << 12 | 0xE7)
    memory.put(1, 256, 2 << 12 | TABLE)

    space = read_space(memory, X86(), 1)

    assert {vpn: leaf.frame for vpn, leaf in space.leaves.items()} == {
        VPN: 9,
        VPN + 507: 10,
        (1 << 27) + (2 << 18) + (4 << 9): 7 * 512,
    }
    assert space.tables == [1, 2, 3, 4]
    large = space.leaf((1 << 27) + (2 << 18) + (4 << 9) + 77)
    assert large is not None
    assert (large.level, space.leaf(VPN + 1)) == (2, None)


def test_tables_that_point_to_each_other_do_not_go_on_for_ever() -> None:
    memory = HandMade()
    for index in range(512):
        memory.put(1, index, 1 << 12 | TABLE)

    with pytest.raises(BrokenTables, match="more than 1024 tables"):
        read_space(memory, X86(), 1)


# ---------------------------------------------------------------------------------- arm64

ARM_BASE = 0x40000


def arm(entry: int, form: Format | None = None) -> Leaf | None:
    memory = path_to(entry, table=ARM_TABLE, base=ARM_BASE)
    return walk(memory, form or Arm64(), ARM_BASE + 1, VPN)


@pytest.mark.parametrize(
    ("bits", "what"),
    [
        (0x443, {"user", "writable", "executable", "accessed"}),
        (0x4C3, {"user", "executable", "accessed"}),  # AP[2]: read-only
        (0x403, {"writable", "executable", "accessed"}),  # EL1 only
        (0x043, {"user", "writable", "executable"}),
        (0x443 | 1 << 54, {"user", "writable", "accessed"}),  # UXN
        (0x4C3 | 1 << 51, {"user", "executable", "accessed"}),  # DBM: may become writable, and is clean
        (0x443 | 1 << 51, {"user", "writable", "executable", "accessed", "dirty"}),
        (0x4C3 | 1 << 55, {"user", "executable", "accessed", "dirty"}),
    ],
)
def test_the_bits_of_an_arm64_entry_are_told_apart(bits: int, what: set[str]) -> None:
    leaf = arm(ARM_BASE + 9 << 12 | bits)

    names = ("user", "writable", "executable", "accessed", "dirty")
    assert leaf is not None
    assert leaf.present
    assert ({name for name in names if getattr(leaf, name)}, leaf.frame) == (what, ARM_BASE + 9)


@pytest.mark.parametrize(("bit", "right"), [(61, "user"), (62, "writable"), (60, "executable")])
def test_what_an_arm64_table_forbids_no_entry_below_allows(bit: int, right: str) -> None:
    memory = path_to(ARM_BASE + 9 << 12 | ARM_PAGE, table=ARM_TABLE, base=ARM_BASE)
    memory.put(ARM_BASE + 2, 2, ARM_BASE + 3 << 12 | ARM_TABLE | 1 << bit)

    leaf = walk(memory, Arm64(), ARM_BASE + 1, VPN)

    assert leaf is not None
    assert not getattr(leaf, right)


def test_arm64_has_blocks() -> None:
    memory = path_to(0, table=ARM_TABLE, base=ARM_BASE)
    memory.put(ARM_BASE + 3, 3, 5 * 512 << 12 | 0x441)

    leaf = walk(memory, Arm64(), ARM_BASE + 1, VPN)

    assert leaf is not None
    assert (leaf.level, frame_of(leaf, VPN)) == (2, 5 * 512 + 4)
    assert arm(ARM_BASE + 9 << 12 | 0x441) is None  # a block in the last level is reserved


def test_an_arm64_entry_that_is_not_valid_may_hold_a_frame() -> None:
    entry = ARM_BASE + 9 << 12 | 1 << 58 | 0x4C2

    leaf = arm(entry, LINUX_ARM64)

    assert leaf is not None
    assert (leaf.present, leaf.frame, leaf.user, leaf.writable) == (False, ARM_BASE + 9, False, False)
    assert arm(entry) is None


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (9 << 12 | 0x867, 9 << 12 | 0x860, Held(0x800)),  # a bit of the kernel's own is left
        (9 << 12 | 0x67, 9 << 12 | 0x2, Held(0x0000_FFFF_FFFF_F000)),  # nothing is, but the frame
        (9 << 12 | 0x67, ~(9 << 12) & 0x000F_FFFF_FFFF_F000 | 0x160, Held(0x100, inverted=True)),  # as Linux does
        (9 << 12 | 0x67, 9 << 12 | 0x63, None),  # present, though not for user space
        (9 << 12 | 0x67, 0, None),
        (9 << 12 | 0x67, 7 << 12 | 0x100, None),  # something else
        (0, 9 << 12, None),
    ],
)
def test_how_a_page_is_kept_that_may_not_be_touched_is_learnt(before: int, after: int, held: Held | None) -> None:
    form = with_held(X86(), before, after)

    assert form == X86(held)
    assert (form.leaf(after, 1, Rights()) is None) == (held is None and not after & 1)
    if held is not None:
        assert walk(path_to(after), form, 1, VPN) == Leaf(
            9, 1, False, False, False, False, bool(after & 0x20), bool(after & 0x40)
        )


def test_an_entry_is_shown_as_it_is() -> None:
    memory = path_to(9 << 12 | 0x160)

    assert [entry_of(memory, X86(), 1, VPN + each) for each in (0, 1, 512)] == [9 << 12 | 0x160, 0, None]


def test_what_did_not_change_is_not_read_again_and_what_did_is() -> None:
    memory = path_to(9 << 12 | 0x67)
    walker = Walker(memory, X86())

    first = walker.space(1)
    memory.put(4, 5, 10 << 12 | 0x67)
    second = walker.space(1)

    assert [sorted(space.leaves) for space in (first, second)] == [[VPN], [VPN, VPN + 1]]
    assert walker.space(1) == second == read_space(memory, X86(), 1)
