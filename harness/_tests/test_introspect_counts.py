"""Counts in a kernel's memory: found by the symbols of small ELF files, in RAM that is made by hand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import DefinitionError
from harness.guest.definition import load_definition
from harness.guest.definition_values import KernelCounts
from harness.guest.ram import GuestRam
from harness.introspect.counts import SymbolCounts, open_counts
from harness.introspect.kernel_memory import KernelMemory
from harness.introspect.page_walk import X86
from harness.introspect.symbols import KernelFile, Segment, Symbol, read_kernel_file
from harness.program.trace import FrameSeen

AT = 0x10_0000
HIGH = 0xFFFF_8000_0000_0000
SOURCE = """
    unsigned short counts[64] = {1};
    unsigned short _ZN8platform13page_refcount9REFCOUNTS17h0123456789abcdefE[64] = {1};
    static int pages_left = 1, pages_right = 2;
    void _start(void) { counts[0] = pages_left + pages_right; }
    """


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    ram = GuestRam("x86_64", 32)
    yield ram
    ram.close()


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make an ELF file of SOURCE."""
    folder = tmp_path_factory.mktemp("kernels")
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")

    def make(*options: str) -> Path:
        source, image = folder / "kernel.c", folder / f"kernel{''.join(options)}.elf"
        source.write_text(SOURCE)
        command = ["cc", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", *options, "-o", str(image)]
        subprocess.run([*command, str(source)], check=True)
        return image

    return make


def file_with(*symbols: Symbol) -> KernelFile:
    return KernelFile(Path("kernel.elf"), symbols, (Segment(AT, 0x10_0000, AT),))


def reader(
    ram: GuestRam, *, address: int = AT, size: int = 0, direct_map: int | None = None, **keys: object
) -> SymbolCounts:
    wanted = KernelCounts("symbol", symbol="counts", direct_map=direct_map, **keys)  # type: ignore[arg-type]
    file = file_with(Symbol("counts", address, size))
    return SymbolCounts(wanted, file, KernelMemory(ram, X86(), None, file.segments, direct_map))


def put(ram: GuestRam, at: int, value: int, width: int) -> None:
    ram.bytes[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")


# ------------------------------------------------------------------ symbols


@pytest.mark.parametrize("pattern", ["^counts$", "page_refcount.*REFCOUNTS", "9REFCOUNTS", "pages_l"])
def test_a_pattern_that_one_object_matches_finds_it(build: Callable[..., Path], pattern: str) -> None:
    symbol = read_kernel_file(build()).find(pattern)

    assert symbol.address > 0
    assert symbol.size in (4, 128)


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("^count$", r"matches no object in .*kernel\.elf \(did you mean 'counts'\?\)"),
        ("^pages_", r"matches 2 objects in .*: pages_\w+ at 0x[0-9a-f]+, pages_\w+ at 0x[0-9a-f]+$"),
        ("^_start$", "matches no object"),
    ],
)
def test_a_pattern_that_matches_nothing_or_twice_is_refused(
    build: Callable[..., Path], pattern: str, complaint: str
) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        read_kernel_file(build()).find(pattern)


def test_two_names_of_one_address_are_one_object() -> None:
    file = file_with(Symbol("counts", AT, 2), Symbol("page_counts", AT, 2))

    assert file.find("counts").address == AT


def test_a_stripped_kernel_is_named(build: Callable[..., Path]) -> None:
    with pytest.raises(DefinitionError, match=r"has no symbol table, it was stripped: name .* with counts\.symbols"):
        read_kernel_file(build("-s"))


@pytest.mark.parametrize("content", [b"MZ" + bytes(600), b"", b"\x7fELF" + bytes(8), b"\x7fELF\x02\x01\x01" + b"\xff" * 99])
def test_what_is_no_elf_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bzImage").write_bytes(content)

    with pytest.raises(DefinitionError, match=r"bzImage is (no ELF file, and so has no symbols|a damaged ELF file)"):
        read_kernel_file(tmp_path / "bzImage")


# ------------------------------------------------------------------ the array


@pytest.mark.parametrize("element", ["u8", "u16", "u32", "u64"])
def test_an_array_is_read_by_frame_number(ram: GuestRam, element: str) -> None:
    width = int(element[1:]) // 8
    put(ram, AT + 7 * width, 3, width)

    counts = reader(ram, element=element)

    assert [counts.read(frame).refcount for frame in (6, 7, 8)] == [0, 3, 0]


def test_a_record_has_its_count_at_an_offset(ram: GuestRam) -> None:
    put(ram, AT + 16 + 5 * 64 + 52, 2, 4)

    counts = reader(ram, element="u32", base=16, stride=64, offset=52)

    assert counts.read(5) == FrameSeen(refcount=2)


def test_a_pointer_is_followed_once_through_the_direct_map(ram: GuestRam) -> None:
    put(ram, AT, HIGH + 0x20_0000, 8)
    put(ram, 0x20_0000 + 2 * 9, 4, 2)

    counts = reader(ram, size=8, pointer=True, direct_map=HIGH)

    assert counts.read(9).refcount == 4


def test_the_kernels_own_tables_lead_to_what_no_direct_map_has(ram: GuestRam) -> None:
    root, virtual = 0x300, 0xFFFF_C000_0000_0000
    for level, index in ((0, virtual >> 39 & 511), (1, 0), (2, 0)):
        ram.words[(root + level) * 512 + index] = (root + level + 1) << 12 | 3
    ram.words[(root + 3) * 512] = 0x400 << 12 | 3
    put(ram, (0x400 << 12) + 2 * 11, 6, 2)
    file = file_with(Symbol("counts", virtual, 0))

    counts = SymbolCounts(KernelCounts("symbol", symbol="counts"), file, KernelMemory(ram, X86(), root, file.segments))

    assert counts.read(11).refcount == 6
    assert counts.read(11 + 4096).refcount is None  # its page of the array is not mapped


@pytest.mark.parametrize(
    ("keys", "stored", "seen"),
    [
        ({"bias": 1}, 0, FrameSeen(refcount=1)),
        ({"bias": 1, "element": "i16"}, -1, FrameSeen(refcount=0)),
        ({"sole": 0}, 0, FrameSeen(refcount=1)),
        ({"sole": 0}, 2, FrameSeen(refcount=2)),
        ({"uncounted": (0xFFFF,)}, 0xFFFF, FrameSeen()),
        ({"holds": "entries"}, 2, FrameSeen(mapcount=2)),
    ],
)
def test_what_is_stored_means_what_the_definition_says(
    ram: GuestRam, keys: dict[str, object], stored: int, seen: FrameSeen
) -> None:
    put(ram, AT + 2 * 4, stored, 2)

    assert reader(ram, **keys).read(4) == seen  # type: ignore[arg-type]


def test_an_array_that_is_shorter_than_memory_says_nothing_of_what_lies_behind(ram: GuestRam) -> None:
    counts = reader(ram, size=2 * 16)

    assert [counts.read(frame).refcount for frame in (15, 16)] == [0, None]


def test_frames_may_be_numbered_from_the_beginning_of_memory() -> None:
    ram = GuestRam("arm64", 32)
    try:
        put(ram, AT + 2 * 3, 5, 2)
        file = file_with(Symbol("counts", AT, 0))
        wanted = KernelCounts("symbol", symbol="counts", index="ram")
        segments = (Segment(AT, 0x1000, ram.start + AT),)
        memory = KernelMemory(ram, X86(), None, segments)

        counts = SymbolCounts(wanted, file, memory)

        assert counts.read(ram.start // 4096 + 3).refcount == 5
    finally:
        ram.close()


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"address": 0xFFFF_FFFF_8010_0000}, r"counts at 0xffffffff80100000 lies in no memory of the guest; .*direct_map"),
        ({"pointer": True}, "counts at 0x100000 leads to 0x0, which lies in no memory of the guest"),
        ({"size": 8, "base": 8}, r"has 8 bytes, which is no array of counts from byte 8 on: .*counts\.pointer = true"),
        ({"size": 1}, "has 1 bytes, which is no array of counts"),
    ],
)
def test_an_array_that_is_nowhere_is_refused(ram: GuestRam, keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        reader(ram, **keys)  # type: ignore[arg-type]


def test_a_kernel_that_is_no_linux_and_has_no_counts_is_read_by_nobody(ram: GuestRam, tmp_path: Path) -> None:
    assert open_counts(None, tmp_path, banner="mine 1", ram=ram, form=X86(), root=0) is None
    assert open_counts(None, tmp_path, banner="Linux version 6", ram=ram, form=X86(), root=0) is None
    with pytest.raises(DefinitionError, match="no VMCOREINFO in the guest's memory"):
        open_counts(KernelCounts("vmcoreinfo"), tmp_path, banner="", ram=ram, form=X86(), root=0)


# ------------------------------------------------------------------ definitions

DEFINITION = """
name = "mine"
kind = "qemu"
title = "mine"
semantics = "any-kernel"
[kernel]
source = "file"
path = "kernel.elf"
[counts]
"""


def defined(folder: Path, counts: str) -> KernelCounts | None:
    path = folder / "mine.toml"
    path.write_text(DEFINITION + counts)
    return load_definition(path).counts


def test_a_definition_says_where_counts_lie(tmp_path: Path) -> None:
    counts = defined(
        tmp_path, 'symbol = "9REFCOUNTS"\nsymbols = "vmlinux"\ndirect_map = 0xffff800000000000\nuncounted = [65535]'
    )

    assert counts == KernelCounts(
        "symbol", symbol="9REFCOUNTS", symbols=tmp_path / "vmlinux", direct_map=HIGH, uncounted=(65535,)
    )
    assert defined(tmp_path, 'reader = "vmcoreinfo"') == KernelCounts("vmcoreinfo")


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ("", "'counts.symbol' is missing"),
        ('symbol = "("', "'counts.symbol' has '\\(', which is no regular expression"),
        ('symbol = ".*"', "which matches every line"),
        ('symbol = "a"\nelement = "u12"', "'counts.element' is 'u12' .*must be one of u8"),
        ('symbol = "a"\nelement = "u32"\noffset = 2\nstride = 4', "'counts.stride' is 4, and a count ends at byte 6"),
        ('symbol = "a"\nindex = "page"', "'counts.index' is 'page'"),
        ('symbol = "a"\nstep = 4', "'counts.step' is no key"),
        ('reader = "vmcoreinfo"\nsymbol = "a"', "'counts.symbol' is no key of counts with reader = \"vmcoreinfo\""),
        ('symbol = "a"\ndirect_map = "high"', "'counts.direct_map' must be a whole number"),
        ('symbol = "a"\nuncounted = 7', "'counts.uncounted' must be a list of whole numbers"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(tmp_path: Path, counts: str, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        defined(tmp_path, counts)


def test_what_is_free_can_be_told_where_nothing_else_reads_as_it_does() -> None:
    def tells(**keys: object) -> bool:
        return KernelCounts("symbol", symbol="a", **keys).tells_free  # type: ignore[arg-type]

    assert [tells(), tells(bias=1), tells(bias=1, element="i32"), tells(sole=0), tells(zero_if_free=False)] == [
        True, False, True, False, False,
    ]  # fmt: skip
