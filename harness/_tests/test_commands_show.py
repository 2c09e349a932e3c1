"""`show`, `guests` and `contracts`: what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness._tests.snapshots.check import check_snapshot
from harness.commands.cli import run
from harness.commands.show import show_lines
from harness.compare.catalogue import CONTRACTS
from harness.model.presets import PRESETS
from harness.program.text import parse_program

TEXT = """
p0: map a 4 rw private anon
p0: store a[0] 0x11
p0: load a[1]
p0: fork p1
p0: store a[0] 0x22
p1: store data[0]+1 0x05
p1: protect a[0] r
p1: store a[0] 0x33
observe
p1: exit 7
p0: wait p1
p0: unmap a[1..2]
p0: exec
"""

Captured = pytest.CaptureFixture[str]


def test_each_step_shows_entries_holders_and_what_changed() -> None:
    lines = show_lines(parse_program(TEXT), PRESETS["linux-6.1"])

    check_snapshot("show-linux-6.1.txt", "\n".join(lines) + "\n")


def test_a_kernel_without_zero_page_shows_none() -> None:
    lines = list(show_lines(parse_program(TEXT), PRESETS["textbook"]))

    assert not any("zero" in line for line in lines)


@pytest.mark.parametrize("semantics", sorted(PRESETS))
def test_lines_fit_into_a_terminal(semantics: str) -> None:
    lines = show_lines(parse_program(TEXT), PRESETS[semantics], everything=True)

    assert max(map(len, lines)) <= 110


def test_one_step_alone_has_the_same_marks(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "x.prog"
    path.write_text(TEXT)

    run(["show", str(path), "--step", "5"])

    out = capsys.readouterr().out
    assert "step 5  p0: store a[0] 0x22  => done   (cow.copy, 1 page fault)" in out
    assert "1 reference: p1 a[0]  (was 2)" in out
    assert "step 6" not in out


def test_the_list_of_guests_names_each_definition(capsys: Captured) -> None:
    status = run(["guests"])

    out = capsys.readouterr().out
    assert status == 0
    assert "linux-image-cloud-amd64 of bookworm" in out
    assert "in this process" in out
    assert "  built from fixtures/kernels/mini  " in out


def test_a_probe_says_what_the_guest_is(capsys: Captured) -> None:
    status = run(["guests", "--probe", "model"])

    assert status == 0
    assert "in-process toy kernel" in capsys.readouterr().out


def test_the_list_of_contracts_has_all_of_them_or_those_asked_for(capsys: Captured) -> None:
    run(["contracts"])
    everything = capsys.readouterr().out
    run(["contracts", "cow.", "--level", "frames"])
    some = capsys.readouterr().out

    assert all(f"{id}  (" in everything for id in CONTRACTS)
    assert "cow.sole-owner-reuses  (frames)" in some
    assert "cow.break-copies-all" not in some
