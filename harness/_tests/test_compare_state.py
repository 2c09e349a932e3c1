"""One thing altered in a conforming trace: the comparison names it, with its contract, step and place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness._tests.altering import (
    MODEL,
    NEW,
    Alter,
    moved_to,
    sound,
    verdict_of,
    with_frame,
    with_observation,
    with_page,
    with_process,
)
from harness.compare import compare
from harness.compare.catalogue import CONTRACTS
from harness.compare.difference import Topic
from harness.compare.verdict import Verdict
from harness.model_guest import ModelGuest
from harness.program.text import parse_program
from harness.program.trace import FrameFlag, FrameSeen, PageSeen, RssSeen, SizeSeen, Trace
from harness.program.units import Prot
from harness.subject import How

STORY = """
    p0: map a 4 rw private anon
    p0: store a[0] 0x11
    p0: store a[1] 0x22
    p0: load a[2]
    p0: fork p1
    p1: store a[0] 0x33
    """
TWICE = """
    p0: map a 2 rw private anon
    p0: store a[0] 0x11
    observe
    p0: load a[0]
    """


PROTECTED = """
    p0: map a 2 rw private anon
    p0: store a[0] 0x11
    p0: protect a[0] r
    """


def writable(where: str) -> Alter:
    return with_page(where, lambda seen: replace(seen, writable=True))


def bytes_of(where: str, *runs: tuple[int, int]) -> Alter:
    return with_page(where, lambda seen: replace(seen, content=runs))


def count(where: str, **excess: int) -> Alter:
    return with_frame(
        where, lambda seen: replace(seen, **{name: getattr(seen, name) + more for name, more in excess.items()})
    )


def read_only(where: int) -> Alter:
    return with_process(where, lambda seen: replace(seen, vmas=tuple(replace(vma, prot=Prot.R) for vma in seen.vmas or ())))


CASES: dict[str, tuple[Topic, str, Alter, str, str]] = {
    "a process is missing": (
        Topic.PROCESSES, STORY, with_observation(lambda seen: replace(seen, processes={0: seen.processes[0]})),
        "conserve.process", "p1",
    ),
    "a process is too many": (
        Topic.PROCESSES, STORY,
        with_observation(lambda seen: replace(seen, processes={**seen.processes, 2: seen.processes[1]})),
        "conserve.process", "p2",
    ),
    "the child's VMAs are others": (Topic.VMAS, STORY, read_only(1), "fork.inherits-vmas", "p1 a[0]"),
    "a VMA is missing": (
        Topic.VMAS, STORY, with_process(0, lambda seen: replace(seen, vmas=())), "mmap.fixed-replaces", "p0 a[0]",
    ),
    "a touched page is absent": (
        Topic.ABSENT, STORY, with_page("p0 a[1]", lambda _: PageSeen(False)), "page.present", "p0 a[1]",
    ),
    "an untouched page is present": (Topic.PRESENT, STORY, moved_to("p0 a[3]", NEW), "prefault.budget", "p0 a[3]"),
    "a page outside every VMA is present": (Topic.PRESENT, STORY, moved_to("p0 a[9]", NEW), "page.present", "p0 a[9]"),
    "an untouched page was copied": (Topic.NOT_SHARED, STORY, moved_to("p1 a[1]", NEW), "fork.shares-frames", "p1 a[1]"),
    "a written page is still shared": (
        Topic.SHARED, STORY, moved_to("p1 a[0]", "p0 a[0]"), "fork.child-store-private", "p1 a[0]",
    ),
    "two pages have one frame": (Topic.SHARED, STORY, moved_to("p1 a[0]", "p0 a[1]"), "alloc.never-twice", "p1 a[0]"),
    "a page changed its frame": (Topic.MOVED, TWICE, moved_to("p0 a[0]", NEW), "frame.stays", "p0 a[0]"),
    "a read page is not the zero page": (Topic.ZERO, STORY, moved_to("p0 a[2]", NEW), "zero.page-stays-zero", "p0 a[2]"),
    "a written page is the zero page": (
        Topic.ZERO, STORY, moved_to("p0 a[0]", "p0 a[2]"), "zero.page-stays-zero", "p0 a[0]",
    ),
    "a page is counted as resident that is not": (
        Topic.RSS, STORY, with_process(1, lambda seen: replace(seen, rss=RssSeen(3, 0, 0, 0, 0))), "account.rss", "p1",
    ),
    "an address space is counted too large": (
        Topic.SIZE, STORY, with_process(1, lambda seen: replace(seen, size=SizeSeen(6, 5))), "account.size", "p1",
    ),
    "a mapcount is too high": (Topic.MAPCOUNT, STORY, count("p0 a[1]", mapcount=1), "count.mapcount", "p0 a[1]"),
    "a mapcount is too low": (Topic.MAPCOUNT, STORY, count("p0 a[1]", mapcount=-1), "count.mapcount", "p0 a[1]"),
    "a refcount is too high": (
        Topic.REFCOUNT, STORY, count("p0 a[1]", refcount=1), "count.equals-references", "p0 a[1]",
    ),
    "a refcount is too low": (
        Topic.REFCOUNT, STORY, count("p0 a[1]", refcount=-1), "count.equals-references", "p0 a[1]",
    ),
    "the child's byte shows in the parent": (
        Topic.BYTES, STORY, bytes_of("p0 a[0]", (0x33, 1), (0, 4095)), "fork.child-store-private", "p0 a[0]",
    ),
    "fresh memory is not zero": (
        Topic.BYTES, STORY, bytes_of("p0 a[2]", (0, 4095), (5, 1)), "zero.fresh-memory", "p0 a[2]",
    ),
    "a shared page is writable": (
        Topic.WRITABLE, STORY, writable("p1 a[1]"), "cow.no-writable-shared", "p1 a[1]",
    ),
    "the zero page is writable": (
        Topic.WRITABLE, STORY, writable("p0 a[2]"), "cow.no-writable-shared", "p0 a[2]",
    ),
    "a page that is protected is writable": (
        Topic.FORBIDDEN, PROTECTED, writable("p0 a[0]"), "mprotect.last-one-counts", "p0 a[0]",
    ),
    "a page ends early": (Topic.BYTES, STORY, bytes_of("p0 a[2]", (0, 4000)), "zero.fresh-memory", "p0 a[2]"),
}  # fmt: skip


def test_every_topic_has_a_case() -> None:
    of_other_semantics = {Topic.BUDGET}  # test_more_untouched_pages_than_declared_are_told_with_both_numbers
    assert {case[0] for case in CASES.values()} == set(Topic) - of_other_semantics


def test_the_unaltered_traces_conform() -> None:
    for text in (STORY, TWICE):
        assert verdict_of(text, lambda trace: trace).conforms


def test_a_page_of_ones_own_may_be_writable_or_not() -> None:
    for is_writable in (True, False):
        alter = with_page("p0 a[0]", lambda seen, it=is_writable: replace(seen, writable=it))  # type: ignore[misc]
        assert verdict_of(STORY, alter).conforms


@pytest.mark.parametrize("what", CASES)
def test_a_difference_is_named_with_contract_step_and_place(what: str) -> None:
    _, text, alter, contract, where = CASES[what]

    first = verdict_of(text, alter).first()

    assert (first.contracts[0], first.step, first.where) == (contract, len(parse_program(text)) - 1, where)
    assert first.expected != first.observed
    assert set(first.contracts) <= set(CONTRACTS)


@pytest.mark.parametrize("what", CASES)
def test_a_difference_at_an_earlier_observation_ends_the_comparison_there(what: str) -> None:
    _, text, alter, contract, _ = CASES[what]
    trace = alter(sound(text))
    longer = parse_program(text + "p0: load a[1]\n")
    steps = len(parse_program(text))
    told = sound(longer, How(dense=True))
    kept = tuple(each for each in told.observations if each.after == steps + 1)
    earlier = replace(told, observations=(*trace.observations, *kept), outcomes=told.outcomes)

    verdict = compare(longer, earlier, MODEL)

    assert (verdict.first().contracts[0], verdict.first().step) == (contract, steps - 1)


def test_what_was_never_looked_at_is_never_compared() -> None:
    def blind(trace: Trace) -> Trace:
        return with_process(0, lambda seen: replace(seen, pages={}, vmas=None))(trace)

    assert verdict_of(STORY, blind).conforms


def test_a_clear_lru_flag_means_exactly_one_more_reference() -> None:
    def batched(refcount: int) -> Alter:
        return with_frame("p0 a[0]", lambda seen: replace(seen, refcount=refcount, flags=FrameFlag.ANON))

    assert verdict_of(STORY, batched(2)).conforms
    for wrong in (0, 1, 3):
        first = verdict_of(STORY, batched(wrong)).first()
        assert first.contracts[0] == "count.equals-references"
        assert first.expected.startswith("refcount 1 + 1 (LRU batch)")


def test_without_flags_nobody_is_assumed_to_hold_the_frame_for_a_moment() -> None:
    def flagless(refcount: int) -> Alter:
        return with_frame("p0 a[0]", lambda _: FrameSeen(1, refcount, None))

    assert verdict_of(STORY, flagless(1)).conforms
    assert not verdict_of(STORY, flagless(2)).conforms


def test_the_counts_of_the_zero_page_are_nobodys_business() -> None:
    wild = with_frame("p0 a[2]", lambda seen: replace(seen, mapcount=77, refcount=99))

    assert verdict_of(STORY, wild).conforms


def test_counts_are_not_compared_where_the_frames_are_wrong_already() -> None:
    def alter(trace: Trace) -> Trace:
        return count("p0 a[0]", refcount=5)(moved_to("p1 a[1]", NEW)(trace))

    assert "count.equals-references" not in verdict_of(STORY, alter).contracts


def test_all_differences_of_the_first_point_are_reported() -> None:
    def alter(trace: Trace) -> Trace:
        return bytes_of("p0 a[1]", (0x99, 4096))(read_only(1)(trace))

    assert {each.where for each in verdict_of(STORY, alter).divergences} == {"p0 a[1]", "p1 a[0]"}


def test_a_divergence_comes_with_the_two_states_side_by_side() -> None:
    rows = verdict_of(STORY, moved_to("p1 a[1]", NEW)).rows

    different = [(row.process, row.page) for row in rows if row.expected.frame != row.observed.frame]
    assert different == [(1, "a[1]")]


@pytest.mark.parametrize("runs", [((0, 4096), (0, 1)), ((0, 1 << 70),), ()], ids=["long", "huge", "nothing"])
def test_bytes_that_do_not_add_up_to_a_page_are_a_difference(runs: tuple[tuple[int, int], ...]) -> None:
    assert verdict_of(STORY, bytes_of("p0 a[2]", *runs)).first().where == "p0 a[2]"


def eagerly(text: str, budget: int) -> Verdict:
    """The verdict on a kernel that brings in each new anonymous mapping, and says that `budget` pages are its most."""
    program = parse_program(text)
    trace = ModelGuest(("eager-prefault",)).execute(program, How())
    return compare(program, trace, replace(MODEL, prefault_budget=budget))


def test_as_many_untouched_pages_as_declared_may_be_present() -> None:
    assert eagerly("p0: map a 8 rw private anon", 8).conforms
    assert eagerly("p0: map a 9 rw private anon\np0: store a[0] 0x11", 8).conforms


def test_more_untouched_pages_than_declared_are_told_with_both_numbers() -> None:
    first = eagerly("p0: map a 16 rw private anon\np0: store a[0] 0x11", 8).first()

    assert (first.contracts[0], first.where) == ("prefault.budget", "p0 a[9]")
    assert first.expected == "at most 8 untouched pages present, as declared"
    assert first.observed == "15 untouched pages present"


def test_a_prefaulted_page_with_the_frame_of_another_page_is_a_difference() -> None:
    program = parse_program("p0: map a 2 rw private anon\np0: store a[1] 0x00\nobserve")
    trace = moved_to("p0 a[0]", "p0 a[1]")(sound(program, How(dense=True)))

    first = compare(program, trace, replace(MODEL, prefault_budget=8)).first()

    assert (first.contracts[0], first.expected) == ("alloc.never-twice", "a frame of its own")


@pytest.mark.parametrize("faults", [(), ("eager-prefault",)])
@pytest.mark.parametrize("then", ["", "p0: store a[0] 0x11"])
def test_a_load_may_find_the_page_that_was_prefaulted_or_the_zero_page(faults: tuple[str, ...], then: str) -> None:
    program = parse_program(f"p0: map a 2 rw private anon\np0: load a[0]\n{then}")
    trace = ModelGuest(faults).execute(program, How(count_faults=True))

    assert compare(program, trace, replace(MODEL, prefault_budget=8)).conforms
