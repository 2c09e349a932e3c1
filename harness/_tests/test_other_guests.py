"""The shipped guests beside the default one: each boots, shows what it should, and conforms on a story."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compare.verdict import Verdict
from harness.errors import ImageError, ToolMissing
from harness.guest.agent_build import build_agent
from harness.guest.definition import load_definition
from harness.guest.session import Session
from harness.guests import MachineSubject, open_runner, semantics_of
from harness.program.levels import Level
from harness.program.text import parse_program
from harness.report.known import KnownDivergence, expected, load_known
from harness.runner import Runner
from harness.subject import How

STORIES = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "programs").glob("cow-*.prog"))
GUESTS = ("linux-5.10", "linux-6.12", "linux-sid", "linux-arm64", "linux-smp2")


@pytest.fixture(scope="module", params=GUESTS)
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    try:
        opened = open_runner(request.param)
    except (ImageError, ToolMissing) as error:
        pytest.skip(f"{request.param}: {error}")
    yield opened
    opened.close()


def test_it_shows_frames_and_true_counts(runner: Runner) -> None:
    shown = runner.subject.levels

    assert {Level.MAPPINGS, Level.FRAMES, Level.MAPCOUNTS, Level.REFCOUNTS, Level.ACCOUNTING} <= shown


def test_the_named_scenarios_conform(runner: Runner) -> None:
    verdicts: list[Verdict] = []
    for path in STORIES:
        program = parse_program(path.read_text(encoding="utf-8"))
        verdicts += [
            runner.run(program, How(count_faults=True, accounting=True)),
            runner.run_sequence([program], How(dense=True)),
        ]

    known = known_of(runner.subject.name)
    wrong = [verdict for verdict in verdicts if not verdict.conforms]
    assert [verdict for verdict in wrong if not expected(verdict, known)] == []
    assert bool(wrong) == bool(known)
    assert len(verdicts) > 20


FILL = parse_program("p0: fill data[0] 0x01\np0: load bss[0]\np0: fork p1\np1: fill data[1] 0x02")
MOST = 3000


def test_a_guest_with_two_cpus_uses_both_and_keeps_no_frame_in_the_batch_of_one_of_them() -> None:
    """A CPU that is idle keeps what the last process left in its batches, until somebody drains them there."""
    try:
        subject = MachineSubject(Session(load_definition("linux-smp2")))
    except (ImageError, ToolMissing) as error:
        pytest.skip(str(error))
    runner = Runner(subject, semantics_of(subject))
    try:
        verdicts: list[Verdict] = []
        before = busy_ticks(subject)
        while len(verdicts) < 30 or (min(busy_ticks(subject)) <= max(before) and len(verdicts) < MOST):
            verdicts.append(runner.run(FILL, How(accounting=True)))

        assert subject.session.has_mailbox
        assert len(before) == 2
        assert len(verdicts) < MOST
        assert all(verdict.conforms for verdict in verdicts)
    finally:
        runner.close()


def busy_ticks(subject: MachineSubject) -> list[int]:
    """Read how long each CPU was in user mode and in the kernel: "cpu0 user nice system …" in /proc/stat."""
    lines = (subject.client.read_file("/proc/stat") or b"").decode().splitlines()
    cpus = [line.split() for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return [int(user) + int(system) for _, user, _, system, *_ in cpus]


def known_of(guest: str) -> tuple[KnownDivergence, ...]:
    path = load_definition(guest).known_divergences
    return load_known(path) if path else ()


def test_the_agent_for_arm64_is_a_program_for_arm64(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    try:
        agent = build_agent("arm64", tmp_path)
    except ToolMissing as error:
        pytest.skip(str(error))

    assert agent.read_bytes()[18:20] == b"\xb7\0"
