"""Finding struct page in /proc/kcore, on heads built here and on garbage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness._tests.fake_agent import VMCOREINFO, VMEMMAP, kcore
from harness.agent.codec import Field
from harness.agent.linux import struct_page_source


def test_struct_page_is_found_in_a_kcore_that_describes_it() -> None:
    source, reason = struct_page_source(kcore(file_offset=0x1234000))

    assert reason == ""
    assert source is not None
    assert (source.path, source.base, source.stride, source.length) == ("/proc/kcore", 0x1234000, 64, 64)
    assert source.fields == (
        Field("refcount", 52, 4),
        Field("map_raw", 48, 4),
        Field("lru", 0, 8, 1 << 5),
        Field("anon", 24, 1, 1),
    )


@pytest.mark.parametrize("word", ["compound_head", "compound_info"])
def test_the_frames_of_pages_of_several_are_known_where_the_kernel_says_how(word: str) -> None:
    source, _ = struct_page_source(kcore(f"{VMCOREINFO}OFFSET(page.{word})=8\nNUMBER(PG_head_mask)=65536\n"))

    assert source is not None
    assert source.fields[4:] == (Field("head", 0, 8, 1 << 16), Field("tail", 8, 1, 1))


def test_a_kernel_that_names_its_vmemmap_is_believed() -> None:
    source, _ = struct_page_source(kcore(f"{VMCOREINFO}SYMBOL(vmemmap)=ffffea8000001000\n", vmemmap=0xFFFFEA8000000000))

    assert source is not None
    assert source.base == 0x7000 + 0x1000


def test_a_kcore_that_does_not_map_struct_page_says_so() -> None:
    source, reason = struct_page_source(kcore(vmemmap=0xFFFF888000000000))

    assert source is None
    assert reason == f"/proc/kcore does not hold the array of struct page at 0x{VMEMMAP:x}"


def test_a_kcore_without_vmcoreinfo_says_so() -> None:
    source, reason = struct_page_source(kcore(None))

    assert source is None
    assert "does not describe struct page" in reason
    assert "VMCOREINFO" in reason


@pytest.mark.parametrize("line", [each for each in VMCOREINFO.splitlines() if not each.startswith("OSRELEASE")])
def test_each_line_of_vmcoreinfo_is_needed_and_missed_by_name(line: str) -> None:
    source, reason = struct_page_source(kcore(VMCOREINFO.replace(line + "\n", "")))

    assert source is None
    assert line.partition("=")[0] in reason


def test_numbers_that_are_none_are_a_reason_and_no_crash() -> None:
    source, reason = struct_page_source(kcore(VMCOREINFO.replace("SIZE(page)=64", "SIZE(page)=many")))

    assert source is None
    assert "does not describe struct page" in reason


@pytest.mark.parametrize("offset", [-8, 61, 4096])
def test_a_field_outside_the_record_is_a_reason(offset: int) -> None:
    info = VMCOREINFO.replace("OFFSET(page._refcount)=52", f"OFFSET(page._refcount)={offset}")

    source, reason = struct_page_source(kcore(info))

    assert source is None
    assert f"refcount at byte {offset} is not in a record of 64 bytes" in reason


@pytest.mark.parametrize("length", [0, 1, 16, 63, 64, 100, 175, 180, 190, 250])
def test_a_kcore_that_ends_early_is_a_reason_and_no_crash(length: int) -> None:
    source, reason = struct_page_source(kcore()[:length])

    assert source is None
    assert "/proc/kcore does not" in reason


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32))
def test_garbage_in_a_kcore_is_a_source_or_a_reason(number: int) -> None:
    choose = random.Random(number)
    head = bytearray(kcore())
    for _ in range(choose.randint(1, 8)):
        head[choose.randrange(len(head))] = choose.randrange(256)

    source, reason = struct_page_source(bytes(head))

    assert (source is None) == bool(reason)
