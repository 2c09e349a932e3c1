"""The teaching kernel of fixtures/kernels/mini, in QEMU: sound by default, and broken in the way that it is told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DefinitionError, ImageError, ToolMissing
from harness.guest.agent_build import build_kernel
from harness.guest.definition import load_definition
from harness.guests import check_faults, open_runner
from harness.model_guest import FAULTS
from harness.program.abilities import needs
from harness.program.levels import Level
from harness.report.store import Failure, read_failure
from harness.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "fixtures" / "kernels" / "mini"
PROGRAMS = ROOT / "fixtures" / "programs"

GUESTS = ("mini", "mini-arm64")


def opened(guest: str, faults: tuple[str, ...] = ()) -> Runner:
    """Open a runner for mini; a machine without the emulator or the compiler for it skips, and is told what to install."""
    try:
        return open_runner(guest, faults=faults)
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module", params=GUESTS)
def sound(request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = opened(request.param)
    yield runner
    runner.close()


def gallery(fault: str) -> list[Failure]:
    """Give the stored programs that show a fault."""
    found = [read_failure(path) for path in sorted(PROGRAMS.rglob("*.prog"))]
    return [each for each in found if each.faults == (fault,)]


@pytest.mark.parametrize("guest", GUESTS)
def test_the_definition_lists_the_faults_that_the_kernel_has(guest: str) -> None:
    in_kernel = re.findall(r'^FAULT\(\w+, "([^"]+)", "[^"]+"\)$', (KERNEL / "faults.def").read_text(), re.MULTILINE)

    assert load_definition(guest).faults == tuple(in_kernel)


def test_no_file_for_all_architectures_names_a_register_or_a_device_of_one() -> None:
    registers = (
        r"\b(r[abcd]x|r[sd]i|r[sbi]p|cr[0-4]|x[0-9]|sp_el0|ttbr\w*|far_el1|esr_el1|outb|inb|invlpg|tlbi|svc|0x3f8)\b"
    )
    shared = [path for suffix in ("*.c", "*.h", "*.def") for path in KERNEL.glob(suffix)]

    assert len(shared) > 20
    assert [(path.name, found) for path in shared for found in re.findall(registers, path.read_text())] == []


def test_arm64_has_all_system_calls_but_those_that_linux_has_not_there_either() -> None:
    calls = {arch: (KERNEL / "arch" / arch / "calls.def").read_text() for arch in ("x86_64", "arm64")}
    names = {arch: set(re.findall(r"^CALL\(\d+, (\w+)\)$", text, re.MULTILINE)) for arch, text in calls.items()}

    assert names["x86_64"] - names["arm64"] == {"dup2", "fork", "mkdir", "open", "pipe", "poll", "unlink", "vfork"}
    assert names["arm64"] <= names["x86_64"]


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_no_fault_is_decided_in_an_architectures_files(arch: str) -> None:
    files = sorted((KERNEL / "arch" / arch).iterdir())

    assert len(files) > 8
    assert [path.name for path in files if re.search(r"\bhas\(", path.read_text())] == []


def test_each_fault_has_the_name_that_it_has_in_the_catalogue() -> None:
    assert set(load_definition("mini").faults) <= set(FAULTS)


def test_a_fault_that_the_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the guest 'mini' has no fault 'cow-share'; did you mean cow-shares"):
        check_faults(load_definition("mini"), ("cow-share",))


def test_faults_go_to_the_kernel_by_its_command_line() -> None:
    definition = load_definition("mini").with_faults(("cow-shares", "count-u8"))

    assert definition.command_line == "console=ttyS0 fault=cow-shares,count-u8 rdinit=/init"
    assert load_definition("mini").with_faults(()).command_line == "console=ttyS0 rdinit=/init"


def test_a_kernel_that_does_not_compile_is_refused_with_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(KERNEL, tmp_path / "mini")
    (tmp_path / "mini" / "main.c").write_text("no C\n")

    with pytest.raises(ImageError, match=r"the kernel mini does not compile with .*: .*error"):
        build_kernel("mini", "x86_64", tmp_path / "mini")


def test_a_folder_without_a_kernel_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the kernel mini's sources are not in"):
        build_kernel("mini", "x86_64", tmp_path)


def test_it_shows_everything_but_the_bits_of_entries(sound: Runner) -> None:
    assert sound.subject.levels == frozenset(Level)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sound_kernel_passes_the_programs_that_catch_faults(sound: Runner, fault: str) -> None:
    for failure in gallery(fault):
        if any(needs(op) & getattr(sound.subject, "lacking", {}).keys() for op in failure.program.steps):
            continue
        verdict = sound.run_sequence(failure.programs, failure.how)

        assert not verdict.divergences


OF_THE_SEED = (
    "no-vm-drop",
    "free-cached-pages",
    "dec-only-teardown",
    "exec-teardown-frees-live-tables",
    "double-free-root",
    "ghost-fork",
    "eager-prefault",
)
"""The faults of the true story, of which its fix for arm64 had the same."""


BROKEN = [
    *[("mini", fault) for fault in load_definition("mini").faults],
    *[("mini-arm64", fault) for fault in OF_THE_SEED],
]


@pytest.mark.parametrize(("guest", "fault"), BROKEN)
def test_the_broken_kernel_is_caught_by_them_on_their_contracts(guest: str, fault: str) -> None:
    failures = gallery(fault)
    runner = opened(guest, faults=(fault,))
    try:
        found = [runner.run_sequence(each.programs, each.how).contracts for each in failures]
    finally:
        runner.close()

    assert found
    assert all(each.contract in contracts for each, contracts in zip(failures, found, strict=True))
