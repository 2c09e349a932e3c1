"""`pytest contracts --guest model`: verdicts, reports, files, seeds, shards and interruptions."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from contracts._tests.running import PATIENCE_S, ROOT, Ran, end_group, environment, living_members, run, start
from harness.report.store import read_failure

DIVERGES = """
p0: map a 1 rw private anon
p0: store a[0] 0x11
p0: fork p1
p1: crash load b[0]
p0: wait p1
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("broken")
    return run(
        folder,
        "--fault",
        "wait-status-wrong",
        "-k",
        "wait_status_is_exact or fixed_mapping",
        "--examples",
        "60",
        "--seed",
        "s",
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("sound"), "--examples", "2", "--seed", "s")


# ---------------------------------------------------------------------------------- a sound kernel


def test_a_sound_kernel_passes_every_contract(sound: Ran) -> None:
    assert sound.status == 0, sound.out
    assert re.search(r"\d+ passed", sound.out)
    assert "guest: model (in-process toy kernel), planted faults: none" in sound.out
    assert "pagepact: guest model, seed s" in sound.out
    assert "0 findings" in sound.out
    assert sound.failures == []


def test_each_contract_has_its_row_in_the_json_file(sound: Ran) -> None:
    rows = sound.results

    assert {row["outcome"] for row in rows} == {"passed"}
    assert len({row["contract"] for row in rows}) > 40
    assert all(row["broken"] is None and row["seconds"] >= 0 for row in rows)


def test_the_junit_file_names_each_contract(sound: Ran) -> None:
    cases = list(ET.parse(sound.folder / "junit.xml").getroot().iter("testcase"))

    named = [each.get("value") for case in cases for each in case.iter("property") if each.get("name") == "contract"]
    assert len(cases) == len(named) == len(sound.results)
    assert set(named) == {row["contract"] for row in sound.results}


def test_self_tests_are_no_contracts(sound: Ran) -> None:
    assert not [row["test"] for row in sound.results if "_tests" in row["test"]]
    assert sound.out.count("_tests") == 0


def test_self_tests_need_no_guest() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "contracts/_tests/test_catalogue.py", "--collect-only", "-p", "no:cacheprovider"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE_S,
    ).stdout  # fmt: skip

    assert "pagepact: guest" not in said


# ---------------------------------------------------------------------------------- a planted fault


def test_a_fault_makes_the_contract_fail_that_names_it(broken: Ran) -> None:
    outcomes = {row["contract"]: row["outcome"] for row in broken.results}

    assert broken.status == 1
    assert outcomes.pop("wait.status") == "failed"
    assert "mmap.fixed-replaces" in outcomes
    assert set(outcomes.values()) == {"passed"}


def test_the_report_says_what_is_broken_and_how_to_replay_it(broken: Ran) -> None:
    (row,) = [row for row in broken.results if row["outcome"] == "failed"]

    assert "BROKEN: wait.status" in broken.out
    assert "The wait status tells the exit code or the killing signal, exactly." in broken.out
    assert "python -m harness replay" in broken.out
    assert "Traceback" not in broken.out
    assert (row["broken"], row["steps"]) == ("wait.status", 3)
    assert 1 <= row["examples"] <= 60


def test_the_failing_program_is_in_a_file_that_replays(broken: Ran) -> None:
    (name,) = set(re.findall(r"REPLAY  python -m harness replay (\S+)", broken.out))
    (file,) = [each for each in broken.failures if each.name == Path(name).name]
    failure = read_failure(file)

    done = subprocess.run(
        [sys.executable, "-m", "harness", "replay", str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip

    assert (failure.guest, failure.faults, failure.contract) == ("model", ("wait-status-wrong",), "wait.status")
    assert len(failure.program) == 3
    assert done.returncode == 1
    assert "BROKEN: wait.status" in done.stdout


def test_the_junit_file_of_a_failure_is_well_formed_and_holds_the_report(broken: Ran) -> None:
    cases = ET.parse(broken.folder / "junit.xml").getroot().iter("testcase")

    (failure,) = [each for case in cases for each in case.iter("failure")]
    assert "BROKEN: wait.status" in (failure.text or "")


def test_a_finding_of_another_contract_is_listed_at_the_end_and_fails_the_run(tmp_path: Path) -> None:
    ran = run(tmp_path, "--fault", "wait-status-wrong", "-k", "mapcounts_equal", "--examples", "600", "--seed", "3")

    assert [row["outcome"] for row in ran.results] == ["passed"]
    assert ran.status == 1
    assert "broken too, by programs that were drawn for other contracts:" in ran.out
    assert re.search(r"wait\.status +\S+\.prog", ran.out)
    (file,) = ran.failures
    assert len(read_failure(file).program) == 3, "it is as short as a finding of the tested contract would be"


def test_catches_chooses_the_contracts_that_name_a_fault(tmp_path: Path) -> None:
    ran = run(tmp_path, "--catches", "eager-prefault", "--examples", "5")

    assert [row["contract"] for row in ran.results] == ["prefault.budget"]


# ---------------------------------------------------------------------------------- one program


def test_one_program_runs_alone(tmp_path: Path) -> None:
    program = tmp_path / "x.prog"
    program.write_text(DIVERGES)

    ran = run(tmp_path, "--program", str(program), "--fault", "wait-status-wrong")

    assert ran.status == 1
    assert [row["contract"] for row in ran.results] == ["any.program"]
    assert "BROKEN: wait.status" in ran.out
    assert "1 program" in ran.out


def test_a_malformed_program_is_an_error_and_no_finding(tmp_path: Path) -> None:
    program = tmp_path / "x.prog"
    program.write_text("p0: lod a[0]\n")

    ran = run(tmp_path, "--program", str(program))

    assert ran.status == 1
    assert "1 error" in ran.out
    assert "failed" not in ran.out.splitlines()[-1]
    assert f"ProgramError: {program}:1: there is no operation 'lod'" in ran.out
    assert "Traceback" not in ran.out


# ---------------------------------------------------------------------------------- the command line

REFUSED = {
    "guest": (["--guest", "nix"], "there is no guest 'nix'; known guests are "),
    "fault": (["--fault", "cow-share"], "has no fault 'cow-share'; did you mean cow-shares"),
    "kernel": (["--kernel", "/none/bzImage"], "--kernel /none/bzImage: there is no such file"),
    "program": (["--program", "/none/x.prog"], "--program /none/x.prog: there is no such file"),
    "examples": (["--examples", "0"], "--examples must be at least 1, not 0"),
    "steps": (["--steps", "-3"], "--steps must be at least 1, not -3"),
    "profile": (["--profile", "slow"], "invalid choice: 'slow'"),
    "faults of linux": (["--guest", "linux", "--fault", "cow-shares"], "has no switchable faults; use --guest mini"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(what: str, tmp_path: Path) -> None:
    arguments, words = REFUSED[what]

    ran = run(tmp_path, *arguments)

    assert ran.status == 4
    assert words in ran.err
    assert "Traceback" not in ran.err + ran.out
    assert ran.out.strip() == ""


@pytest.mark.parametrize("more", [(), ("-n", "2")])
def test_a_guest_that_cannot_be_opened_is_said_once(more: tuple[str, ...], tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_text("no kernel\n" * 999)

    ran = run(tmp_path, "--guest", "linux", "--kernel", str(image), *more)

    assert ran.status == 2
    assert ran.err.splitlines() == [f"Exit: ImageError: {image} is no kernel: neither a bzImage nor an ELF file"]
    assert "ERROR" not in ran.out
    assert "Traceback" not in ran.out


# ---------------------------------------------------------------------------------- seeds and shards

RECORDER = """
import json, os
import harness.runner as runner
from harness.program.text import format_program

_run = runner.Runner.run

def run(self, program, *how, **options):
    with open(os.environ["RECORD"], "a") as file:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        file.write(json.dumps([worker, test.rpartition("::")[2].partition(" ")[0], format_program(program)]) + chr(10))
    return _run(self, program, *how, **options)

runner.Runner.run = run
"""


def recorded(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """The programs that each test ran."""
    folder.mkdir()
    ran = run(folder, "--examples", "8", *arguments, plugin=RECORDER, env={"RECORD": str(folder / "record")})
    assert ran.status == 0, ran.out
    found: dict[str, list[str]] = {}
    for line in (folder / "record").read_text().splitlines():
        _, test, program = json.loads(line)
        found.setdefault(test, []).append(program)
    return found


def test_shards_draw_programs_of_their_own_and_a_seed_draws_them_again(tmp_path: Path) -> None:
    chosen = ("-n", "2", "-k", "any_program_conforms")
    first = recorded(tmp_path / "1", *chosen, "--seed", "x")
    again = recorded(tmp_path / "2", *chosen, "--seed", "x")
    other = recorded(tmp_path / "3", "-k", "any_program_conforms", "--seed", "y")

    assert len(first) == 2
    one, two = first.values()
    assert set(one) != set(two)
    assert first == again
    assert set(other) < {*first}
    assert next(iter(other.values())) != first[next(iter(other))]


# ---------------------------------------------------------------------------------- trouble

BREAKS = """
import harness.model_guest.guest as guest
from harness.errors import ProtocolError

_execute, left = guest.ModelGuest.execute, [3]

def execute(self, program, how):
    left[0] -= 1
    if left[0] == 0:
        raise ProtocolError("nonsense came back", evidence=b"xyz")
    return _execute(self, program, how)

guest.ModelGuest.execute = execute
"""


def test_trouble_of_ours_is_an_error_and_the_next_contract_runs_on(tmp_path: Path) -> None:
    ran = run(tmp_path, "-k", "refcounts_equal or mapcounts_equal", "--examples", "5", plugin=BREAKS)

    assert ran.status == 1
    assert "ProtocolError: nonsense came back; received b'xyz'" in ran.out
    assert re.search(r"1 passed.*1 error", ran.out.splitlines()[-1])
    assert "Traceback" not in ran.out


STARTED = """
import os
import harness.runner as runner

_run, left = runner.Runner.run, [5]

def run(self, program, *how, **options):
    left[0] -= 1
    if left[0] == 0:
        with open(os.environ["STARTED"], "wb") as fifo:
            fifo.write(b"x")
    return _run(self, program, *how, **options)

runner.Runner.run = run
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "with workers"])
def test_an_interruption_ends_the_run_and_leaves_nobody_behind(tmp_path: Path, workers: list[str]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "plugin_of_test.py").write_text(STARTED)
    env = environment() | {"STARTED": str(fifo), "PYTHONPATH": str(tmp_path)}
    chosen = ("-p", "plugin_of_test", "-k", "any_program_conforms", "--examples", "1000000", *workers)
    started = start(tmp_path, *chosen, env=env)
    try:
        select.select([reader], [], [], PATIENCE_S)
        started.send_signal(signal.SIGINT)
        said, _ = started.communicate(timeout=PATIENCE_S)

        assert started.returncode == 2, said
        assert living_members(started.pid) == []
    finally:
        end_group(started)
        os.close(reader)
