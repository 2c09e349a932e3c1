"""Failure files: whole or not at all, readable by everybody, and they show the failure again."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness._tests.snapshots.check import check_snapshot
from harness.compare.verdict import Verdict
from harness.errors import ProgramError, StorageError
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.program import Program
from harness.program.text import parse_program
from harness.report.store import FailureStore, file_name, read_failure, replay_command
from harness.runner import Runner
from harness.subject import How

TEXT = """# why it is here
# contract: an older one
p0: map a 4 rw private anon
p0: store a[0] 0x11
p0: fork p1
observe
p0: store a[0] 0x22
p1: load a[0]
"""


@contextlib.contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """Let writes fail as they do on a full disk: after `length` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def found(*faults: str, how: How | None = None) -> Verdict:
    runner = Runner(ModelGuest(faults=faults), PRESETS["model"])
    return runner.run_sequence([parse_program(TEXT)], how)


def test_a_file_reads_back_as_what_was_saved(tmp_path: Path) -> None:
    verdict = found("cow-shares", how=How(count_faults=True, accounting=True))

    path = FailureStore(tmp_path / "deep" / "er").save(
        verdict,
        contract="fork.parent-store-private",
        guest="model",
        faults=("cow-shares", "count-u8"),
        kernel=Path("bzImage"),
    )
    failure = read_failure(path)

    assert failure.program == verdict.program
    assert failure.contract == "fork.parent-store-private"
    assert (failure.guest, failure.faults) == ("model", ("cow-shares", "count-u8"))
    assert failure.kernel == Path("bzImage")
    assert failure.how == How(count_faults=True, accounting=True)
    assert parse_program(path.read_text()) == verdict.program


def test_the_text_of_a_file_tells_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = (parse_program("p0: map a 2 r private anon\np0: exit 0\n"),)
    verdict = dataclasses.replace(found("cow-keeps-old-ref"), after=before)

    path = FailureStore(Path("failures")).save(
        verdict, contract="count.equals-references", guest="model", faults=("cow-keeps-old-ref",)
    )

    check_snapshot("failure-file.prog", path.read_text())


def test_programs_that_run_before_are_in_the_same_file_and_keep_their_order(tmp_path: Path) -> None:
    before = tuple(parse_program(f"p0: map a {n} r private anon\nobserve\np0: exit {n}\n") for n in range(1, 13))
    verdict = dataclasses.replace(found("cow-shares"), after=before)

    path = FailureStore(tmp_path).save(verdict, contract="store.load", guest="model")

    assert read_failure(path).programs == (*before, verdict.program)


def test_the_same_program_and_contract_give_the_same_name(tmp_path: Path) -> None:
    verdict = found("cow-shares")
    store = FailureStore(tmp_path)

    paths = {store.save(verdict, contract="store.load", guest="model") for _ in range(2)}

    assert paths == set(tmp_path.iterdir())
    assert file_name(Program(verdict.program.steps, "other words"), "store.load") == paths.pop().name


def test_the_older_file_goes_when_the_new_one_is_there(tmp_path: Path) -> None:
    store = FailureStore(tmp_path)
    old = store.save(found("cow-shares"), contract="store.load", guest="model")

    new = store.save(found("cow-shares"), contract="fork.parent-store-private", guest="model", replaces=old)

    assert new.exists()
    assert not old.exists()


def test_a_file_does_not_replace_itself(tmp_path: Path) -> None:
    store = FailureStore(tmp_path)
    path = store.save(found("cow-shares"), contract="store.load", guest="model")

    store.save(found("cow-shares"), contract="store.load", guest="model", replaces=path)

    assert path.exists()


def test_a_directory_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "failures").write_text("a file")

    with pytest.raises(StorageError, match="could not be written") as caught:
        FailureStore(tmp_path / "failures").save(found("cow-shares"), contract="store.load", guest="model")

    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_finished_leaves_nothing_and_keeps_the_older_one(tmp_path: Path) -> None:
    store = FailureStore(tmp_path)
    verdict = found("cow-shares")
    old = store.save(verdict, contract="store.load", guest="model")

    with no_file_longer_than(100), pytest.raises(StorageError, match="File too large"):
        store.save(verdict, contract="wait.status", guest="model", replaces=old)

    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe", "is no text"),
        (b"# nothing\n", "has no steps"),
        (b"p0: jump\n", "x.prog:1: there is no operation 'jump'"),
        (b"# before 1: p0: jump\np0: exit 0\n", "in the program 'before 1': there is no operation"),
        (b"# before 1: p1: exit 0\np0: exit 0\n", "in the program 'before 1': step 1"),
        (b"pagepact 99\np0: exit 0\n", "update pagepact"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "x.prog"
    path.write_bytes(content)

    with pytest.raises(ProgramError, match=r"x\.prog") as caught:
        read_failure(path)

    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_said_so(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ProgramError, match=complaint):
            read_failure(path)


def test_a_plain_program_says_nothing_about_guest_or_contract(tmp_path: Path) -> None:
    path = tmp_path / "x.prog"
    path.write_text("# guestbook: no key\np0: exit 0\n")

    failure = read_failure(path)

    assert (failure.guest, failure.contract, failure.faults, failure.before) == ("", "", (), ())
    assert failure.how == How()


def test_the_replay_command_quotes_what_a_shell_would_split() -> None:
    assert replay_command(Path("a b.prog")) == "python -m harness replay 'a b.prog'"
