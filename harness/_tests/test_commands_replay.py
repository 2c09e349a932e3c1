"""`replay`: exit statuses, where the guest comes from, and what is said."""

from __future__ import annotations

import gc
import importlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness.commands.cli import run
from harness.compare.verdict import Verdict
from harness.guest.definition import load_definition
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.program import Program
from harness.program.text import parse_program
from harness.report.store import FailureStore
from harness.runner import Runner
from harness.subject import How

TEXT = """
p0: map a 4 rw private anon
p0: store a[0] 0x11
p0: fork p1
p0: store a[0] 0x22
p1: load a[0]
p1: exit 7
"""

replay_module = importlib.import_module("harness.commands.replay")
"""The module: the package has the command of the same name."""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "x.prog"
    path.write_text(TEXT)
    return path


def saved(folder: Path, *faults: str, how: How | None = None, contract: str = "store.load") -> Path:
    runner = Runner(ModelGuest(faults=faults), PRESETS["model"])
    verdict = runner.run_sequence([parse_program(TEXT)], how)
    return FailureStore(folder).save(verdict, contract=contract, guest="model", faults=faults)


def test_a_program_that_conforms_exits_with_0(program: Path, capsys: Captured) -> None:
    status = run(["replay", str(program), "--guest", "model"])

    assert status == 0
    assert "conforms on guest model (6 steps, 2 processes)" in capsys.readouterr().out


def test_a_program_that_diverges_exits_with_1_and_is_explained(program: Path, capsys: Captured) -> None:
    status = run(["replay", str(program), "--guest", "model", "--fault", "fork-forgets-ref"])

    out = capsys.readouterr().out
    assert status == 1
    assert "BROKEN: fork.parent-store-private" in out
    assert "shows first after step 3" in out


def test_what_only_a_look_in_between_shows_is_found_too(program: Path, capsys: Captured) -> None:
    status = run(["replay", str(program), "--guest", "model", "--fault", "cow-keeps-old-ref"])

    assert status == 1
    assert "After step 4 (p0: store a[0] 0x22)" in capsys.readouterr().out


def test_a_failure_file_knows_its_guest_its_faults_and_what_to_look_at(tmp_path: Path, capsys: Captured) -> None:
    how = How(accounting=True)
    path = saved(tmp_path, "leak-page-tables", how=how, contract="tables.conserved")

    status = run(["replay", str(path)])

    assert status == 1
    assert "BROKEN: tables.conserved" in capsys.readouterr().out


def test_another_guest_leaves_the_faults_of_the_file_out(tmp_path: Path) -> None:
    path = saved(tmp_path, "cow-shares")

    assert run(["replay", str(path), "--guest", "model"]) == 0


def test_a_failure_file_whose_run_breaks_another_contract_says_so(tmp_path: Path, capsys: Captured) -> None:
    path = saved(tmp_path, "cow-shares", contract="wait.status")

    status = run(["replay", str(path)])

    assert status == 1
    assert "saved for wait.status; this run breaks another contract" in capsys.readouterr().out


def test_programs_before_run_before(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "x.prog"
    path.write_text("# before 1: p0: load a[0]\n# before 2: p0: exit 0\np0: exit 3\n")

    status = run(["replay", str(path), "--guest", "model"])

    assert status == 0
    assert "1 steps" in capsys.readouterr().out


def test_many_runs_are_counted(program: Path, capsys: Captured) -> None:
    run(["replay", str(program), "--guest", "model", "--fault", "cow-shares", "--times", "3"])

    assert "3 of 3 runs diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay", "/nowhere/x.prog"], "/nowhere/x.prog: cannot be read: No such file or directory"),
        (["replay", "{program}", "--guest", "nonesuch"], "there is no guest 'nonesuch'"),
        (
            ["replay", "{program}", "--guest", "model", "--fault", "cow-sharez"],
            "did you mean cow-shares",
        ),
        (["replay", "{program}", "--kernel", "/nowhere/bzImage"], "no kernel image /nowhere/bzImage"),
        (["show", "/nowhere/x.prog"], "cannot be read"),
        (["show", "{program}", "--step", "99"], "has 6 steps, and no step 99"),
    ],
)
def test_trouble_on_our_side_is_one_sentence_and_exit_2(
    program: Path, capsys: Captured, arguments: list[str], complaint: str
) -> None:
    status = run([argument.format(program=program) for argument in arguments])

    err = capsys.readouterr().err
    assert status == 2
    assert err.startswith("pagepact: ")
    assert err.count("\n") == 1
    assert complaint in err


@pytest.mark.parametrize(
    "arguments",
    [["nonesuch"], ["replay"], ["replay", "x.prog", "--times", "0"], ["guests", "--kernel", "x"]],
)
def test_a_wrong_command_line_exits_with_2(capsys: Captured, arguments: list[str]) -> None:
    status = run(arguments)

    assert status == 2
    assert "Usage:" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], *([name, "-h"] for name in ("replay", "show", "guests", "contracts"))])
def test_help_shows_an_example(capsys: Captured, arguments: list[str]) -> None:
    status = run(arguments)

    assert status == 0
    assert "    python -m harness " in capsys.readouterr().out


def test_ctrl_c_exits_with_130_and_shows_no_traceback(program: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "harness",
        "replay",
        str(program),
        "--guest",
        "model",
        "--times",
        "100000000",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)  # by then it runs programs; earlier is no different for the user
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()

    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_has_seen_enough_is_no_trouble(program: Path) -> None:
    program.write_text(TEXT + "p0: load a[0]\n" * 300)  # more than a pipe holds
    command = f"{sys.executable} -m harness show {program} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=60)

    assert done.stderr == ""


def test_a_file_with_a_fault_and_no_guest_runs_on_a_guest_that_has_the_fault(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "x.prog"
    path.write_text("# fault: cow-shares\n" + TEXT)

    status = run(["replay", str(path)])

    assert status == 1
    assert "BROKEN: fork.parent-store-private" in capsys.readouterr().out


def test_a_fault_that_no_guest_has_is_trouble_of_one_sentence(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "x.prog"
    path.write_text("# fault: gremlins\n" + TEXT)

    status = run(["replay", str(path)])

    assert status == 2
    assert "no guest can have the faults gremlins; choose one with --guest" in capsys.readouterr().err


def test_verdicts_that_conform_are_not_kept(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []

    def run_and_count(self: Runner, programs: Sequence[Program], how: How | None = None) -> Verdict:
        alive.append(sum(isinstance(each, Verdict) for each in gc.get_objects()))
        return run_sequence(self, programs, how)

    run_sequence = Runner.run_sequence
    monkeypatch.setattr(Runner, "run_sequence", run_and_count)
    status = run(["replay", str(program), "--guest", "model", "--times", "20"])

    assert status == 0
    assert max(alive) <= alive[0] + 3


class YoungKernel(ModelGuest):
    """The toy kernel without vfork, and without fixed buffers: a step that needs one of these is wrong there."""

    lacking: ClassVar = {"vfork": "ENOSYS", "fix": "ENOSYS", "deliver": "ENOSYS", "unfix": "ENOSYS"}


@pytest.fixture
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "open_runner", lambda *_a, **_k: Runner(YoungKernel(), PRESETS["model"]))


@pytest.mark.usefixtures("young")
def test_what_the_kernel_lacks_is_left_out_and_named(program: Path, capsys: Captured) -> None:
    program.write_text("# before 1: p0: fix bss[0]\n" + TEXT + "p0: vfork p2\np2: exit 0\np0: wait p2\n")

    status = run(["replay", str(program), "--guest", "model"])

    out = capsys.readouterr().out
    assert status == 0
    assert "step 7 (p0: vfork p2): cannot vfork (ENOSYS)" in out
    assert "step 8 (p2: exit 0): makes no sense without the others" in out
    assert "1 step of the programs that run before" in out
    assert "conforms on guest model (6 steps, 2 processes)" in out


@pytest.mark.usefixtures("young")
def test_a_program_of_which_nothing_is_left_is_no_pass(program: Path, capsys: Captured) -> None:
    program.write_text("p0: fix bss[0]\np0: unfix\n")

    status = run(["replay", str(program), "--guest", "model"])

    assert status == 2
    assert "is left to be run" in capsys.readouterr().err


def test_what_is_known_of_the_guest_is_said_to_be_expected(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[[divergence]]\ncontract = "fork.parent-store-private"\nreason = "our fork is young"\n')
    definition = replace(load_definition("model"), known_divergences=known)
    monkeypatch.setattr(replay_module, "load_definition", lambda _name: definition)

    status = run(["replay", str(program), "--guest", "model", "--fault", "cow-shares"])

    assert status == 1
    assert "EXPECTED on this guest" in (out := capsys.readouterr().out)
    assert "our fork is young" in out


def test_a_program_that_nobody_saved_is_held_to_all_accounts_too(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "mine.prog"
    path.write_text("p0: map w 1026 rw private anon\np0: store w[2] 0x01\np0: unmap w[256]\n")

    status = run(["replay", str(path), "--guest", "model", "--fault", "huge-split-leaks-table"])

    assert status == 1
    assert "BROKEN: tables.conserved" in capsys.readouterr().out
