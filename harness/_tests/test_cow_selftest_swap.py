"""The scenarios of Linux's selftest cow.c on a page that is in swap when they begin ("with swapped-out base page").

Each is the stored program, with its page paged out once it has its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness._tests.test_cow_selftest import ANONYMOUS, steps_of
from harness._tests.test_cow_selftest_huge import BEGINS
from harness.errors import ToolMissing
from harness.guests import open_runner, semantics_of
from harness.model_guest import ModelGuest
from harness.model_guest.features import Feature
from harness.program.abilities import needs
from harness.program.program import Program
from harness.program.text import parse_program
from harness.runner import Runner
from harness.subject import How


def told(name: str) -> Program:
    lines = steps_of(name)
    return parse_program("\n".join([*lines[: len(BEGINS)], "p0: advise a[0] pageout", *lines[len(BEGINS) :]]))


@pytest.fixture(scope="module", params=["model", "mini", "mini-arm64", "linux-swap"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    try:
        toy = ModelGuest(features=(Feature.SWAP,))
        opened = Runner(toy, semantics_of(toy)) if request.param == "model" else open_runner(request.param)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ANONYMOUS)
def test_a_scenario_of_the_selftest_is_told_of_a_page_in_swap_and_holds(runner: Runner, name: str) -> None:
    program = told(name)
    lacking = {word for op in program.steps for word in needs(op)} & getattr(runner.subject, "lacking", {}).keys()
    if lacking:
        assert lacking == {"fix", "deliver"}, "only io_uring may be missing, as it is in mini"
        return

    verdicts = [runner.run(program, How(dense=dense, pte_bits=True, accounting=True)) for dense in (False, True)]

    assert [verdict.divergences for verdict in verdicts] == [(), ()]
    assert "swap" in verdicts[1].reach, "the page was in swap"
