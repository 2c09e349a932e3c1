"""The command `faults`: what it makes of runs, told by runs that are made up; and one real, short one."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import fault_table
from harness.commands.children import Children, Ended
from harness.commands.cli import run
from harness.commands.fault_markdown import write_markdown_file
from harness.commands.fault_runs import FaultRun, Found, Order, Result, read_cut_run, read_run
from harness.commands.faults import (
    Plan,
    chosen_faults,
    is_proven,
    sound_line,
    summary,
    to_json,
)
from harness.errors import DefinitionError, RigError
from harness.guest.definition import load_definition
from harness.model_guest import FAULTS

CAUGHT = Result("cow.break-copies-all", "test_a", Found.CAUGHT, "cow.break-copies-all", 12, 4, 1.5)
MISSED = Result("live.bounded", "test_b", Found.MISSED, seconds=3.0)
SKIPPED = Result("test_c", "test_c", Found.SKIPPED, note="needs pte_bits")
ERROR = Result("test_d", "test_d", Found.ERROR, note="KeyError: 3")
SOUND = FaultRun((MISSED,))
PLAN = Plan("model", ("cow-shares",), partly=True, examples=300, seed="7", jobs=1)


def result_row(**changes: object) -> dict[str, object]:
    """Write one entry of the JSON that pytest leaves."""
    row = {
        "contract": "live.bounded",
        "test": "contracts/test_life.py::test_every_step_ends",
        "outcome": "failed",
        "broken": "live.bounded",
        "steps": 4,
        "examples": 32,
        "seconds": 3.9,
        "seconds_to_find": 1.25,
    }
    return row | changes


def leave(folder: Path, rows: list[dict[str, object]], cases: str = "") -> Path:
    """Write the files that a run of pytest leaves."""
    (folder / "results.json").write_text(json.dumps(rows))
    (folder / "junit.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    (folder / "failures").mkdir()
    return folder


# ------------------------------------------------------------------------------- reading a run


def test_a_contract_that_failed_by_a_violation_has_caught_the_fault(tmp_path: Path) -> None:
    run = read_run(leave(tmp_path, [result_row()]), Ended(1, ""))

    (result,) = run.results
    assert (result.found, result.contract) == (Found.CAUGHT, "live.bounded")
    assert (result.examples, result.steps, result.test) == (32, 4, "test_every_step_ends")
    assert (result.seconds_to_find, result.seconds) == (1.25, 3.9)


def test_a_contract_that_passed_has_missed_the_fault(tmp_path: Path) -> None:
    row = result_row(outcome="passed", broken=None, steps=None, examples=None)

    run = read_run(leave(tmp_path, [row]), Ended(0, ""))

    assert [result.found for result in run.results] == [Found.MISSED]
    assert not run.caught_by_all


def test_a_test_that_failed_for_another_reason_catches_nothing(tmp_path: Path) -> None:
    cases = """
        <testcase name="test_every_step_ends"><failure message="KeyError: 3&#10;more">x</failure></testcase>
    """

    run = read_run(leave(tmp_path, [result_row(broken=None)], cases), Ended(1, ""))

    assert [(result.found, result.note) for result in run.results] == [(Found.ERROR, "KeyError: 3")]


def test_skips_and_errors_are_found_in_the_junit_report(tmp_path: Path) -> None:
    cases = """
        <testcase name="test_every_step_ends"><failure message="x"/></testcase>
        <testcase name="test_bits"><skipped message="needs pte_bits: not shown">long</skipped></testcase>
        <testcase name="test_boot"><error message="failed on setup">RigError: no
          disk</error></testcase>
    """

    run = read_run(leave(tmp_path, [result_row()], cases), Ended(1, ""))

    assert [(each.test, each.found, each.note) for each in run.results[1:]] == [
        ("test_bits", Found.SKIPPED, "needs pte_bits: not shown"),
        ("test_boot", Found.ERROR, "RigError: no disk"),
    ]


def test_of_a_run_that_was_cut_the_junit_report_tells_what_was_done(tmp_path: Path) -> None:
    def case(name: str, contract: str, inside: str = "") -> str:
        of = f'<properties><property name="contract" value="{contract}"/></properties>'
        return f'<testcase name="{name}">{of}{inside}</testcase>'

    cases = (
        case("t1", "cow.a")
        + case("t2", "cow.b", '<failure message="x">long</failure>')
        + case("t3", "cow.c", '<skipped type="pytest.xfail" message="as known"/>')
        + case("t4", "cow.d", '<skipped type="pytest.skip" message="needs frames"/>')
        + '<testcase name="of no contract"/>'
    )

    run = read_cut_run(leave(tmp_path, [], cases), "interrupted")

    assert [(each.contract, each.found, each.note) for each in run.results] == [
        ("cow.a", Found.MISSED, ""),
        ("cow.b", Found.CAUGHT, ""),
        ("cow.c", Found.EXPECTED, "as known"),
        ("cow.d", Found.SKIPPED, "needs frames"),
    ]
    assert run.cut == "interrupted"


def test_of_a_run_that_left_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert read_cut_run(tmp_path, "interrupted") == FaultRun((), cut="interrupted")


SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_is_heard_line_by_line() -> None:
    heard: list[str] = []
    with Children() as children:
        ended = children.run([sys.executable, "-c", "print('a'); print('b')"], timeout_s=600, heed=heard.append)

    assert heard == ["a\n", "b\n"]
    assert (ended.status, ended.output, ended.cut) == (0, "a\nb\n", "")


def test_a_process_whose_time_is_over_is_asked_to_end() -> None:
    with Children() as children:
        ended = children.run(SLEEPS, timeout_s=0.1, patience_s=600)

    assert ended.status != 0
    assert ended.cut.startswith("its time was over")


def test_a_process_whose_time_is_over_is_trouble_where_nobody_wants_to_know_how_far_it_came() -> None:
    with Children() as children, pytest.raises(RigError, match=r"a process was ended after 0\.1 s"):
        children.run(SLEEPS, timeout_s=0.1)


def test_a_run_in_which_nothing_was_selected_has_no_results(tmp_path: Path) -> None:
    assert read_run(tmp_path, Ended(5, "no tests ran")) == FaultRun(())


def test_a_run_that_pytest_refused_is_trouble_and_says_why(tmp_path: Path) -> None:
    ended = Ended(4, "\nERROR: --examples must be at least 1, not 0\n\n")

    with pytest.raises(RigError, match=r"exit status 4.*--examples must be at least 1"):
        read_run(tmp_path, ended)


def test_a_run_without_results_is_trouble(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="no readable results"):
        read_run(tmp_path, Ended(1, "Segmentation fault"))


def test_programs_that_broke_another_contract_are_named(tmp_path: Path) -> None:
    folder = leave(tmp_path, [result_row()])
    for name in ("live.bounded-11.prog", "exec.drops-all-22.prog"):
        (folder / "failures" / name).touch()

    run = read_run(folder, Ended(1, ""))

    assert run.beside == ("exec.drops-all",)


def test_an_order_selects_the_contracts_that_must_catch_the_fault(tmp_path: Path) -> None:
    command = Order("model", "cow-shares", ("cow-shares",), 300, "7").command(tmp_path)

    text = " ".join(command)
    assert "--fault cow-shares --catches cow-shares" in text
    assert "--examples 300 --seed 7" in text
    assert " -n " not in text


def test_the_sound_guest_is_held_to_all_contracts_unless_faults_were_chosen() -> None:
    whole = Plan("model", ("cow-shares",), partly=False, examples=9, seed="7", jobs=2)

    assert whole.sound().catches == ()
    assert PLAN.sound().catches == ("cow-shares",)
    assert whole.sound().fault is None


# ------------------------------------------------------------------------------- what came of it


def test_it_is_proven_when_every_contract_catches_every_fault() -> None:
    assert is_proven(SOUND, {"cow-shares": FaultRun((CAUGHT,))})


@pytest.mark.parametrize(
    "run",
    [
        FaultRun(()),
        FaultRun((CAUGHT, MISSED)),
        FaultRun((CAUGHT, SKIPPED)),
        FaultRun((Result("a", "a", Found.CAUGHT, "a", 301, 3),)),
    ],
    ids=["named by no contract", "missed by one", "skipped by one", "found late"],
)
def test_it_is_not_proven_otherwise(run: FaultRun) -> None:
    assert not is_proven(SOUND, {"cow-shares": run})


def test_it_is_not_proven_when_the_sound_guest_is_accused() -> None:
    accused = FaultRun((CAUGHT,))

    assert not is_proven(accused, {"cow-shares": FaultRun((CAUGHT,))})
    assert "ACCUSED of breaking cow.break-copies-all" in sound_line(accused)


def test_a_program_that_accuses_the_sound_guest_on_the_side_counts_too() -> None:
    accused = FaultRun((MISSED,), beside=("frame.stays",))

    assert not is_proven(accused, {})


def test_the_summary_says_what_is_wrong_with_each_fault() -> None:
    runs = {
        "ghost-fork": FaultRun(()),
        "cow-shares": FaultRun((CAUGHT, MISSED), beside=("frame.stays",)),
        "count-u8": FaultRun((SKIPPED,)),
        "no-vm-drop": FaultRun((ERROR, ERROR)),
    }

    lines = summary(PLAN, SOUND, runs)

    assert lines == [
        "ghost-fork: no contract names it among those that it catches.",
        "cow-shares: missed by live.bounded (broken beside: frame.stays).",
        "count-u8: test_c was skipped: needs pte_bits.",
        "no-vm-drop: test_d, test_d ended in an error: KeyError: 3",
        "0 of 4 faults are caught by every contract that names them.",
        "The same again: --examples 300 --seed 7",
    ]


def test_the_summary_of_a_proof_is_one_line() -> None:
    lines = summary(PLAN, SOUND, {"cow-shares": FaultRun((CAUGHT,))})

    assert lines == ["1 of 1 faults are caught by every contract that names them."]


def test_the_json_has_each_fault_with_its_results() -> None:
    content = json.loads(json.dumps(to_json(PLAN, SOUND, {"cow-shares": FaultRun((CAUGHT,))})))

    (fault,) = content["faults"]
    assert content["proven"] is True
    assert fault["fault"] == "cow-shares"
    assert fault["results"][0]["examples"] == 12


def test_rows_appear_in_the_order_of_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    board = fault_table.PlainBoard(["ghost-fork", "cow-shares"], 300)
    with board:
        board.update({"cow-shares": FaultRun((CAUGHT, MISSED))})
        early = capsys.readouterr().out
        board.update({"cow-shares": FaultRun((CAUGHT, MISSED)), "ghost-fork": FaultRun(())})

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert early.split() == ["fault", "contract", "found", "after", "steps", "seconds"]
    assert rows == [
        ["ghost-fork", "NO", "CONTRACT", "NAMES", "IT"],
        ["cow-shares", "cow.break-copies-all", "12", "examples", "4", "1.5"],
        ["live.bounded", "MISSED", "in", "300", "3.0"],
    ]


def test_a_terminal_gets_the_same_rows() -> None:
    console = Console(force_terminal=True, width=120, height=40, record=True)
    board = fault_table.LiveBoard(["cow-shares"], 300, console)
    with board:
        board.update({"cow-shares": FaultRun((CAUGHT,))})

    assert "12 examples" in console.export_text()


# ------------------------------------------------------------------------------- the command


def test_all_faults_are_chosen_where_none_is_named() -> None:
    assert chosen_faults("model", ()) == tuple(FAULTS)
    assert chosen_faults("model", ("ghost-fork", "no-vm-drop")) == ("no-vm-drop", "ghost-fork")


def test_a_guest_without_faults_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no switchable faults"):
        chosen_faults("linux", ())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "cow-share"], "has no fault 'cow-share'; did you mean cow-shares"),
        (["--guest", "nonesuch"], "nonesuch"),
        (["--json", "/nonexistent/file"], "cannot be written"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["faults", *arguments])

    said = capsys.readouterr().err
    assert status == 2
    assert sentence in said
    assert said.count("\n") == 1


def test_the_faults_of_a_guest_are_listed_with_their_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["faults", "--guest", "mini", "--list"])

    said = capsys.readouterr().out.splitlines()
    assert status == 0
    assert len(said) == len(load_definition("mini").faults)
    assert f"cow-shares: {FAULTS['cow-shares'].sentence}" in said


def test_a_planted_fault_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, keep = tmp_path / "faults.json", tmp_path / "kept"
    arguments = ["--only", "cow-copies-part", "--examples", "30", "--seed", "1", "--jobs", "1"]

    status = run(["faults", *arguments, "--json", str(file), "--keep", str(keep)])

    shown = capsys.readouterr().out
    assert status == 0, shown
    assert "cow.break-copies-all" in shown
    assert json.loads(file.read_text())["proven"] is True
    assert [path.name for path in (keep / "cow-copies-part").glob("cow.break-copies-all-*.prog")]


# ------------------------------------------------------------------------------- the processes


def test_a_child_and_what_it_started_are_gone_when_the_command_ends() -> None:
    code = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
    read_end, write_end = os.pipe()
    with Children() as children, os.fdopen(read_end, "rb") as said:
        child = children.start([sys.executable, "-c", code], stdout=write_end)
        os.close(write_end)
        said.readline()
        children.stop()

        assert child.returncode == -9
        assert said.read() == b""  # the grandchild had it open too, and is gone


def test_a_child_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()

    with Children() as children, pytest.raises(RigError, match=r"after 0\.2 s"):
        children.run(["sleep", "60"], timeout_s=0.2)

    assert time.monotonic() - began < 30


def test_nothing_is_started_once_the_command_ends() -> None:
    children = Children()
    children.stop()

    with pytest.raises(RigError, match="starts no more"):
        children.start(["true"])


def test_a_program_that_is_not_there_is_trouble_of_ours() -> None:
    with Children() as children, pytest.raises(RigError, match="cannot be started"):
        children.start(["/nonexistent/program"])


# ------------------------------------------------------------------------------- the table in Markdown

README = "# A kernel\n\n<!-- faults: begin -->\nold\n<!-- faults: end -->\nMore.\n"


def test_the_table_takes_the_place_of_the_one_in_the_file_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README)
    again = Result("frame.stays", "test_e", Found.CAUGHT, "frame.stays", 3, 2, 0.5)

    write_markdown_file(tmp_path / "README.md", "guest model", {"cow-shares": FaultRun((CAUGHT, again, MISSED))})

    assert (tmp_path / "README.md").read_text() == (
        "# A kernel\n\n<!-- faults: begin -->\nguest model\n\n"
        "| fault | what is wrong | caught by | examples | steps |\n|---|---|---|---:|---:|\n"
        f"| `cow-shares` | {FAULTS['cow-shares'].sentence} | cow.break-copies-all, frame.stays, live.bounded "
        "| 12, 3, **missed** | 4, 2, – |\n<!-- faults: end -->\nMore.\n"
    )


def test_a_new_file_is_the_table_alone_and_a_fault_without_contract_has_a_row_too(tmp_path: Path) -> None:
    write_markdown_file(tmp_path / "table.md", "guest model", {"cow-shares": FaultRun(())})

    lines = (tmp_path / "table.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("<!-- faults: begin -->", "<!-- faults: end -->")
    assert "| no contract |" in lines[-2]


@pytest.mark.parametrize("text", ["# A kernel\n", "<!-- faults: begin -->\nno end\n"])
def test_a_file_without_a_place_for_the_table_is_refused_before_anything_runs(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(text)

    status = run(["faults", "--markdown", str(tmp_path / "README.md")])

    assert status == 2
    assert "has no place for a table: put the lines" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == text
