"""Files of known divergences, and which findings they explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compare.verdict import Verdict
from harness.errors import DefinitionError
from harness.guests import open_runner
from harness.program.text import parse_program
from harness.report.known import KnownDivergence, expected, load_known


@pytest.fixture(scope="module")
def finding() -> Verdict:
    runner = open_runner("model", faults=("wait-status-wrong",))
    return runner.run(parse_program("p0: fork p1\np1: crash store text[0]\np0: wait p1"))


def write(folder: Path, text: str) -> Path:
    path = folder / "known.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_finding_that_matches_is_expected(finding: Verdict) -> None:
    assert not finding.conforms
    by_contract = KnownDivergence("wait.status", "why")
    by_sentence = KnownDivergence("wait.status", "why", pattern="should have")
    by_program = KnownDivergence("wait.status", "why", pattern=r"crash store text")

    assert [expected(finding, [each]) for each in (by_contract, by_sentence, by_program)] == [
        (by_contract,),
        (by_sentence,),
        (by_program,),
    ]


def test_a_finding_that_does_not_match_stays_one(finding: Verdict) -> None:
    other_pattern = KnownDivergence("wait.status", "why", pattern="crash load")
    other_contract = KnownDivergence("cow.break-copies-all", "why")

    assert expected(finding, [other_pattern, other_contract]) == ()


def test_a_file_is_read_entry_by_entry(tmp_path: Path) -> None:
    text = '[[divergence]]\ncontract = "wait.status"\nreason = "later"\nlink = "https://example.org/7"\n'

    (entry,) = load_known(write(tmp_path, text))

    assert str(entry) == "wait.status: later (https://example.org/7)"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", r"is a list of tables \[\[divergence\]\]"),
        ("[divergence]\ncontract = 'x'", "is a list of tables"),
        ("[[divergence]]\ncontract = 'wait.status'", "divergence 1: 'reason' is missing"),
        ("[[divergence]]\nreason = 'x'", "'contract' is missing"),
        ("[[divergence]]\ncontract = 'wait.statue'\nreason = 'x'", "there is no contract 'wait.statue'"),
        ("[[divergence]]\ncontract = 'wait.status'\nreason = ''", "'reason' must be a text that is not empty"),
        ("[[divergence]]\ncontract = 'wait.status'\nreason = 'x'\nwhy = 'y'", "'why' is no key"),
        ("[[divergence]]\ncontract = 'wait.status'\nreason = 'x'\npattern = '('", "is no regular expression"),
        ("[", "are no TOML"),
    ],
)
def test_a_file_that_makes_no_sense_is_said_so(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint) as caught:
        load_known(write(tmp_path, text))

    assert "known.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        load_known(tmp_path / "none.toml")
