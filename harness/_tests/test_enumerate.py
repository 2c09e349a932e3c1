"""All small programs: each once, none twice under other names, and a run that stops, shards and resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands import cli
from harness.program.ops import Fork, Store
from harness.program.small_scope import Scope, all_programs, count_programs
from harness.program.text import format_program

SMALL = Scope(steps=3, pages=2, processes=2)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["enumerate", *arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def test_there_are_so_many_and_each_is_another() -> None:
    programs = list(all_programs(SMALL))

    assert len(set(programs)) == len(programs) == count_programs(SMALL) == 1838
    assert {len(program) for program in programs} == {3}


def test_pages_processes_and_values_come_in_the_order_of_their_first_use() -> None:
    texts = [format_program(program) for program in all_programs(SMALL)]

    assert not any("a[1]" in text and "a[0]" not in text.split("a[1]")[0] and "a 1" not in text for text in texts)
    for program in all_programs(SMALL):
        assert [op.child for op in program.steps if isinstance(op, Fork)] in ([], [1])
        values = [op.value for op in program.steps if isinstance(op, Store)]
        assert values == sorted(set(values))


def test_a_sound_kernel_runs_them_all() -> None:
    status, said = run("--steps", "2", "--guest", "model")

    assert status == 0
    assert "115 of 115 conform" in said


def test_a_fault_stops_it_with_a_report_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    status, said = run("--steps", "3", "--guest", "model", "--fault", "ghost-fork")

    assert status == 1
    assert "WHAT THE KERNEL DID WRONG" in said
    assert len(list(tmp_path.glob("failures/*.prog"))) == 1


def test_the_shards_are_the_whole_and_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    note = str(tmp_path / "here.json")
    common = ("--steps", "2", "--guest", "model")

    shards = [run(*common, "--shard", f"{i}/3")[1] for i in (1, 2, 3)]
    run(*common, "--resume", note)
    _, again = run(*common, "--resume", note)

    assert sum(int(text.split(" programs")[0]) for text in shards) == 115
    assert "115 of 115 conform, 0 s" in again
