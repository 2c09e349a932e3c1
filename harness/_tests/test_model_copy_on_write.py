"""Copy-on-write: who shares a frame with whom, who copies, who reuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.adopt import ExpectedPage, expected_pages
from harness.model.counts import entries, held, page_tables, reference_index
from harness.model.frame import Frame
from harness.model.machine import Machine
from harness.model.presets import PRESETS
from harness.model.step import step
from harness.program.image import image_page
from harness.program.outcome import Loaded, Outcome
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME


def run(text: str) -> tuple[Machine, list[Outcome | None]]:
    machine = Machine(PRESETS["model"])
    outcomes = [step(machine, op).only for op in parse_program(text).steps]
    return machine, outcomes


def more(machine: Machine, text: str) -> Outcome | None:
    """Do one more step."""
    (op,) = parse_program("p0: fork p1\np0: fork p2\n" + text).steps[2:]
    return step(machine, op).only


def page(machine: Machine, process: int, window: str, index: int = 0) -> ExpectedPage:
    return expected_pages(machine, process)[WINDOW_BY_NAME[window].vpn + index]


def frame(machine: Machine, process: int, window: str, index: int = 0) -> Frame:
    found = page(machine, process, window, index).frame
    assert found is not None
    return found


def test_fork_shares_each_frame_and_copies_none() -> None:
    machine, _ = run("p0: store bss[0] 1\np0: load data[0]\np0: load bss[1]\np0: fork p1")

    for window, index in (("bss", 0), ("data", 0), ("bss", 1)):
        assert frame(machine, 0, window, index) is frame(machine, 1, window, index)
    assert not machine.reach["cow.copy"]


@pytest.mark.parametrize("writer", [0, 1])
def test_a_store_after_fork_is_private_to_its_writer(writer: int) -> None:
    reader = 1 - writer

    _, outcomes = run(
        f"p0: fill bss[0] 17\np0: fork p1\np{writer}: store bss[0]+5 34\n"
        f"p{reader}: load bss[0]+5\np{writer}: load bss[0]+5\np{writer}: load bss[0]+4095"
    )

    assert outcomes[-3:] == [Loaded(17), Loaded(34), Loaded(17)]


def test_the_writer_copies_and_the_others_keep_the_frame() -> None:
    machine, _ = run("p0: store bss[0] 1\np0: fork p1\np0: fork p2")
    old = frame(machine, 1, "bss")

    more(machine, "p0: store bss[0] 2")

    assert frame(machine, 0, "bss") is not old
    assert frame(machine, 1, "bss") is frame(machine, 2, "bss") is old
    assert held(machine, old) == 2


def test_the_last_sharer_reuses_the_frame_after_the_other_has_copied() -> None:
    machine, _ = run("p0: store bss[0] 1\np0: fork p1\np0: store bss[0] 2")
    old = frame(machine, 1, "bss")

    more(machine, "p1: store bss[0] 3")

    assert frame(machine, 1, "bss") is old
    assert machine.reach["cow.reuse"] == 1


@pytest.mark.parametrize(
    "end",
    [
        "p1: exit 0",
        "p1: crash load a[0]",
        "p1: exec",
        "p1: unmap bss[0]",
        "p1: map bss[0] rw private anon",
    ],
)
def test_once_the_other_sharer_is_gone_a_store_keeps_the_frame(end: str) -> None:
    machine, _ = run(f"p0: store bss[0] 1\np0: fork p1\n{end}")
    old = frame(machine, 0, "bss")
    assert held(machine, old) == 1

    more(machine, "p0: store bss[0] 2")

    assert frame(machine, 0, "bss") is old
    assert machine.last_faults == 1


def test_three_generations_each_keep_what_they_knew() -> None:
    _, outcomes = run(
        "p0: store bss[0] 1\np0: fork p1\np1: store bss[0] 2\n"
        "p1: fork p2\np2: store bss[0] 3\np2: fork p3\n"
        "p1: store bss[0] 4\np0: load bss[0]\np1: load bss[0]\np2: load bss[0]\np3: load bss[0]"
    )

    assert outcomes[-4:] == [Loaded(1), Loaded(4), Loaded(3), Loaded(3)]


def test_fork_takes_the_write_right_away_again_at_the_next_generation() -> None:
    machine, _ = run("p0: store bss[0] 1\np0: fork p1\np1: store bss[0] 2\np1: fork p2\np1: store bss[0] 3")

    assert len({frame(machine, n, "bss") for n in (0, 1, 2)}) == 3


@pytest.mark.parametrize("prot", ["none", "r"])
def test_a_page_protected_away_before_fork_is_shared_like_any_other(prot: str) -> None:
    machine, outcomes = run(
        f"p0: store bss[0] 1\np0: protect bss[0] {prot}\np0: fork p1\np0: protect bss[0] rw\n"
        "p1: protect bss[0] rw\np0: store bss[0] 2\np1: load bss[0]"
    )

    assert outcomes[-1] == Loaded(1)
    assert frame(machine, 0, "bss") is not frame(machine, 1, "bss")


def test_giving_the_write_right_back_does_not_make_a_shared_frame_writable() -> None:
    machine, _ = run("p0: store bss[0] 1\np0: fork p1\np0: protect bss[0] r\np0: protect bss[0] rw")

    assert not page(machine, 0, "bss").may_write


# ------------------------------------------------------------------------------ zero page, page cache


def test_reads_of_untouched_memory_share_the_zero_page() -> None:
    machine, _ = run("p0: load bss[0]\np0: load bss[1]\np0: fork p1\np1: load bss[2]")

    assert frame(machine, 0, "bss", 0) is frame(machine, 1, "bss", 2) is machine.zero


def test_a_store_to_the_zero_page_gets_a_frame_of_its_own() -> None:
    machine, outcomes = run("p0: load bss[0]\np0: load bss[1]\np0: store bss[0] 1\np0: load bss[1]")

    assert outcomes[-1] == Loaded(0)
    assert frame(machine, 0, "bss", 0) is not machine.zero


def test_a_private_store_never_reaches_the_page_cache() -> None:
    machine, outcomes = run(
        "p0: load data[0]\np0: fork p1\np0: fill data[0] 0\np1: load data[0]\np1: exec\np1: load data[0]"
    )

    assert outcomes[-3] == outcomes[-1] == Loaded(0x80)
    assert machine.cache.frames["data", 0].content == image_page("data", 0)


def test_a_sole_mapper_of_a_cached_page_copies_it_all_the_same() -> None:
    machine, _ = run("p0: load data[0]\np0: store data[0] 1")

    assert machine.reach["cow.copy"] == 1
    assert entries(machine, machine.cache.frames["data", 0]) == 0
    assert held(machine, machine.cache.frames["data", 0]) == 1


def test_text_that_was_made_writable_is_copied_on_write_too() -> None:
    machine, outcomes = run("p0: load text[0]\np0: fork p1\np0: protect text[0] rw\np0: store text[0] 1\np1: load text[0]")

    assert outcomes[-1] == Loaded(0xC0)
    assert frame(machine, 1, "text") is machine.cache.frames["text", 0]


# ------------------------------------------------------------------------------ counts


def test_references_are_entries_and_the_page_cache() -> None:
    machine, _ = run("p0: load data[0]\np0: store bss[0] 1\np0: fork p1\np0: fork p2\np2: exec")

    index = reference_index(machine)
    cached, own = index[frame(machine, 0, "data")], index[frame(machine, 0, "bss")]

    assert (cached.mapcount, cached.references, cached.cached) == (2, 3, ("data", 0))
    assert (own.mapcount, own.references, own.in_cache) == (2, 2, False)
    assert own.ptes == [(0, WINDOW_BY_NAME["bss"].vpn), (1, WINDOW_BY_NAME["bss"].vpn)]


def test_the_index_and_the_single_counts_agree() -> None:
    machine, _ = run("p0: load data[0]\np0: store data[1] 1\np0: store bss[0] 1\np0: fork p1\np1: store bss[0] 1")

    for each, holders in reference_index(machine).items():
        assert (entries(machine, each), held(machine, each)) == (
            holders.mapcount,
            holders.references,
        )


def test_rounds_of_fork_and_exec_inflate_nothing() -> None:
    rounds = "".join(f"p0: fork p{n}\np{n}: exec\np{n}: exit 0\np0: wait p{n}\n" for n in range(1, 15))
    machine, _ = run("p0: store bss[0] 1\n" + rounds + "p0: store bss[0] 2")

    assert held(machine, frame(machine, 0, "bss")) == 1
    assert machine.reach["cow.copy"] == 0
    assert len(machine.pool.in_use) == 1 + page_tables(machine, 0) + len(reference_index(machine))


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("observe", 1),
        ("p0: store bss[0] 1", 4),
        ("p0: store bss[0] 1\np0: load text[0]", 5),
        ("p0: map c 16 rw private anon\np0: store c[0] 1\np0: store c[15] 1", 5),
        ("p0: map e 1 rw private anon\np0: store e[0] 1\np0: unmap e[0]", 1),
        ("p0: map e 2 rw private anon\np0: store e[0] 1\np0: unmap e[0]", 4),
        ("p0: map e 1 rw private anon\np0: store e[0] 1\np0: exec", 1),
    ],
)
def test_this_many_table_pages_are_there(text: str, tables: int) -> None:
    machine, _ = run(text)

    assert page_tables(machine, 0) == tables


def test_a_kernel_that_may_copy_around_a_store_may_have_copied_what_is_near_it() -> None:
    machine = Machine(replace(PRESETS["model"], copied_around=4))
    text = "p0: map d 8 rw private anon\n" + "".join(f"p0: store d[{page}] 1\n" for page in range(8))
    for op in parse_program(text + "p0: fork p1\np1: store d[1] 2\n").steps:
        step(machine, op)

    first = WINDOW_BY_NAME["d"].vpn
    guessed = [
        [pte.guessed for vpn, pte in machine.process(number).memory.page_table.walk() if vpn in range(first, first + 8)]
        for number in (0, 1)
    ]
    near = [True, False, True, True, False, False, False, False]
    assert guessed == [near, near]
