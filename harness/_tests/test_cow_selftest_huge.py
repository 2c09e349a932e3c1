"""The scenarios of Linux's selftest cow.c on huge pages, in the forms in which it has them.

Each is the stored program for the small page, with its page in the middle of a block of 2 MiB; what that program unmaps or
protects is then all that is left of the block.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness._tests.test_cow_selftest import ANONYMOUS, steps_of
from harness.errors import ToolMissing
from harness.guests import open_runner, semantics_of
from harness.model_guest import ModelGuest
from harness.model_guest.features import Feature
from harness.program.abilities import needs
from harness.program.program import Program
from harness.program.text import parse_program
from harness.runner import Runner
from harness.subject import How

BEGIN = "p0: map w 1026 rw private anon\np0: fill w[256] 0x11\n"

FORMS = {
    "with THP": ("", "w[0..511]"),
    "with PTE-mapped THP": ("p0: protect w[510..511] none\np0: protect w[510..511] rw\n", "w[0..511]"),
    "with single PTE of THP": ("p0: unmap w[0..255]\np0: unmap w[257..1025]\n", "w[256]"),
    "with partially mremap()'ed THP": ("p0: remap w[0..255] v[0..255]\n", "w[256..511]"),
    "with partially shared THP": (
        "p0: advise w[0..255] dontfork\np0: fork p9\np9: exit 0\np0: wait p9\np0: advise w[0..255] dofork\n",
        "w[0..511]",
    ),
    "with swapped-out, PTE-mapped THP": (
        "p0: protect w[510..511] none\np0: protect w[510..511] rw\np0: advise w[255..257] pageout\n",
        "w[0..511]",
    ),
    "with single PTE of swapped-out THP": (
        "p0: advise w[255..257] pageout\np0: unmap w[0..255]\np0: unmap w[257..1025]\n",
        "w[256]",
    ),
}
"""What is done to the block before the story begins, and what of it the story is about."""

BEGINS = ("p0: map a 1 rw private anon", "p0: fill a[0] 0x11")
"""How the stories begin; one with a store in place of the last."""


def told(name: str, form: str) -> Program:
    prepared, pages = FORMS[form]
    lines = [
        line.replace("a[0]", pages if line.split()[1] in ("protect", "unmap") else "w[256]")
        for line in steps_of(name)[len(BEGINS) :]
        if line != "observe"
    ]
    return parse_program(BEGIN + prepared + "\n".join(lines))


@pytest.fixture(scope="module", params=["model", "linux-huge"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    try:
        toy = ModelGuest(features=(Feature.HUGE_PAGES, Feature.SWAP))
        opened = Runner(toy, semantics_of(toy)) if request.param == "model" else open_runner(request.param)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    yield opened
    opened.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ANONYMOUS)
def test_a_scenario_of_the_selftest_is_told_of_a_huge_page_and_holds(runner: Runner, name: str, form: str) -> None:
    program = told(name, form)
    assert not {word for op in program.steps for word in needs(op)} & getattr(runner.subject, "lacking", {}).keys()

    verdicts = [runner.run(program, How(dense=dense, pte_bits=True, accounting=True)) for dense in (False, True)]

    assert [verdict.divergences for verdict in verdicts] == [(), ()]
    assert "swapped-out" not in form or "swap" in verdicts[1].reach, "the page was in swap"


@pytest.mark.parametrize("name", ANONYMOUS)
def test_each_story_begins_with_its_page(name: str) -> None:
    assert [line.replace("store", "fill") for line in steps_of(name)[: len(BEGINS)]] == list(BEGINS)
