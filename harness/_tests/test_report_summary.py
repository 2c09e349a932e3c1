"""The summary of a run: what is counted, merged, and written."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import harness.model
from harness.program.image import IMAGES, OWN
from harness.report.summary import EVENTS, RunNumbers, other_lines, owner_lines, reach_lines, summary_lines
from harness.runner import Statistics


def numbers() -> RunNumbers:
    run = RunNumbers()
    statistics = Statistics(1200, 18000, 2400, 2, 5, Counter({"fork": 1200, "cow.copy": 3400}))
    run.add(statistics, 10.0)
    run.skipped["count.mapcount"] = "needs mapcounts: /proc/kpagecount is missing"
    run.skipped["count.equals-references"] = "needs mapcounts: /proc/kpagecount is missing"
    run.others["store.load"] = "failures/store.load-12345678.prog"
    return run


def test_a_summary_says_what_ran_was_reached_skipped_and_found() -> None:
    text = "\n".join(summary_lines(numbers()))

    assert "1,200 programs in 10.0 s (120/s), 15.0 steps and 2.0 processes on average" in text
    assert "2 findings, 5 restores of the guest" in text
    assert "cow.copy 3,400" in text
    assert "never reached: map, map.over" in text
    assert "skipped, not passed: count.equals-references, count.mapcount: needs mapcounts" in text
    assert "store.load  failures/store.load-12345678.prog" in text


def test_nothing_done_is_nothing_said() -> None:
    assert summary_lines(RunNumbers()) == []


def test_workers_are_merged_and_ran_side_by_side() -> None:
    run = numbers()

    run.merge(json.loads(json.dumps(numbers().to_json())))

    assert (run.programs, run.steps, run.seconds) == (2400, 36000, 10.0)
    assert run.reach["cow.copy"] == 6800


def test_merging_keeps_the_file_that_was_named_first() -> None:
    run, other = numbers(), numbers()
    other.others["store.load"] = "another"

    run.merge(other.to_json())

    assert run.others["store.load"] == "failures/store.load-12345678.prog"


def test_lines_fit_whatever_was_reached() -> None:
    reach = dict.fromkeys(EVENTS, 10**9)

    lines = reach_lines(reach, width=100)

    assert max(map(len, lines)) <= 100
    assert len(lines) < 54
    assert not any("never" in line for line in lines)


def test_an_event_that_nobody_listed_is_shown_too() -> None:
    assert "  new.event 3" in reach_lines({"new.event": 3}, known=())


def test_no_other_findings_are_no_lines() -> None:
    assert other_lines({}) == []


def test_every_event_that_the_model_counts_is_known_here() -> None:
    sources = Path(harness.model.__file__).parent.rglob("*.py")
    counted = {
        name
        for source in sources
        for place in re.findall(r"reach\[([^\]]*)\]", source.read_text())
        for name in re.findall(r'"([^"]+)"', place)
    }

    others = [image for image in IMAGES if image != OWN]
    named = {name.replace("{op.image}", image) for name in counted for image in others}

    assert named == set(EVENTS)


@pytest.mark.parametrize(
    ("copied", "kept", "is_told"), [(50, 26, True), (20, 0, True), (19, 0, False), (30, 31, False), (0, 400, False)]
)
def test_a_kernel_that_copies_for_a_sole_owner_is_told_of_where_it_may(copied: int, kept: int, is_told: bool) -> None:
    lines = owner_lines({"owner.copied": copied, "owner.kept": kept})

    assert bool(lines) == is_told
    assert not is_told or " ".join(" ".join(lines).split()).startswith(
        f"in {copied} of {copied + kept} stores of a sole owner"
    )
