"""The resident set: what the kernel counts has to be what the page tables hold, as exactly as the kernel can tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.compare import compare
from harness.compare.rss import ExpectedRss, fits
from harness.compare.verdict import Verdict
from harness.model.presets import PRESETS
from harness.model.semantics import Semantics
from harness.model_guest import ModelGuest
from harness.program.text import parse_program
from harness.program.trace import Ending, RssSeen, Trace
from harness.subject import How

PROGRAM = parse_program(
    """
    p0: map a 4 rw private anon
    p0: load a[0]
    p0: store a[1] 0x11
    p0: protect a[1] none
    p0: load data[0]
    p0: map b 2 rw private f
    p0: load b[0]
    p0: store b[1] 0x22
    p0: map c 1 rw shared anon
    p0: load c[0]
    """
)
HERE = RssSeen(anonymous=2, file=1, shared=2, anonymous_outside=0, other_outside=0)
"""The zero page is nobody's; a page that nobody may touch and a private copy are anonymous; of a file are two kinds."""

MODEL = PRESETS["model"]


def seen_as(rss: RssSeen, semantics: Semantics = MODEL) -> Verdict:
    trace = ModelGuest().execute(PROGRAM, How(accounting=True))
    (only,) = trace.observations
    process = replace(only.processes[0], rss=rss)
    return compare(PROGRAM, replace(trace, observations=(replace(only, processes={0: process}),)), semantics)


def test_the_toy_kernel_counts_each_page_as_what_it_is() -> None:
    trace = ModelGuest().execute(PROGRAM, How(accounting=True))

    assert trace.observations[-1].processes[0].rss == HERE


def test_nobody_asks_for_the_resident_set_unless_accounts_are_looked_at() -> None:
    trace = ModelGuest().execute(PROGRAM, How())

    assert trace.observations[-1].processes[0].rss is None


@pytest.mark.parametrize("rss", [
    HERE,
    replace(HERE, file=0, shared=3),  # the image lives in memory too, as the files of an initramfs do
    replace(HERE, file=3, shared=0),  # a kernel that tells no kinds of files apart
    replace(HERE, anonymous=9, anonymous_outside=7, file=6, other_outside=5),
])  # fmt: skip
def test_what_may_be_counted_conforms(rss: RssSeen) -> None:
    assert seen_as(rss).conforms


@pytest.mark.parametrize("rss", [
    replace(HERE, anonymous=3),
    replace(HERE, anonymous=1),
    replace(HERE, file=0),
    replace(HERE, shared=3),
    replace(HERE, file=2, shared=1),
    replace(HERE, anonymous=4, file=0, shared=1),  # the sum is right
    replace(HERE, other_outside=1),
])  # fmt: skip
def test_a_page_too_many_or_too_few_or_of_the_wrong_kind_is_found(rss: RssSeen) -> None:
    assert seen_as(rss).contracts == {"account.rss"}


@pytest.mark.parametrize(("off", "conforms"), [(31, True), (32, False), (-31, True)])
def test_where_a_cpu_keeps_some_for_itself_as_many_may_be_missing(off: int, conforms: bool) -> None:
    outside = 40
    seen = replace(HERE, anonymous=HERE.anonymous + outside + off, anonymous_outside=outside)

    assert seen_as(seen, replace(MODEL, rss_slack=31)).conforms is conforms


@pytest.mark.parametrize(("extra", "conforms"), [("", False), ("p0: threads 1\n", True)])
def test_a_task_that_nobody_asks_may_keep_what_it_has_counted(extra: str, conforms: bool) -> None:
    program = parse_program(f"p0: store bss[0] 0x11\n{extra}p0: unmap bss[0]")
    trace = ModelGuest(["rss-forgets-unmap"]).execute(program, How(accounting=True))

    assert compare(program, trace, replace(MODEL, rss_slack_of_task=64)).conforms is conforms


def test_the_numbers_are_told_with_their_kinds() -> None:
    (only,) = seen_as(replace(HERE, anonymous=3)).divergences

    assert only.expected == "a resident set of 2 anonymous pages, 1 of the image, 2 of files in memory"
    assert only.observed == "3 anonymous pages, 1 of files, 2 shared"


def test_slack_holds_for_each_number_by_itself() -> None:
    expected = ExpectedRss(anonymous=10, image=5, shared=0)

    assert fits(expected, RssSeen(8, 6, 1, 0, 0), slack=2)
    assert not fits(expected, RssSeen(8, 8, 0, 0, 0), slack=2)


def test_pages_that_nobody_watches_may_be_of_the_image_or_of_files_in_memory() -> None:
    expected = ExpectedRss(anonymous=10, image=267, shared=3, unwatched=253)

    assert fits(expected, RssSeen(10, 14, 256, 0, 0), slack=0)
    assert not fits(expected, RssSeen(10, 13, 257, 0, 0), slack=0)
    assert not fits(expected, RssSeen(10, 14, 255, 0, 0), slack=0)


def test_a_kernel_that_complains_of_its_own_count_breaks_the_contract_about_it() -> None:
    said = "BUG: Bad rss-counter state mm:ffff888003a4c000 type:MM_ANONPAGES val:1"
    trace = Trace(outcomes=(None,), ending=Ending.PANICKED, evidence=said)

    (only,) = compare(parse_program("p0: exit 0"), trace, MODEL).divergences

    assert only.contracts[0] == "account.rss"
    assert "live.no-panic" in only.contracts
