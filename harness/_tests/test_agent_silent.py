"""What a kernel says of a process that no longer answers, as a sentence and a stack."""

from __future__ import annotations

import pytest

from harness.agent.silent import Silent

_STAT = "78 (in it) D) {} 1 0 0 0 -1 64 1203441 0 0 0 3 296 0 0 20 0 1 0 522 696320 27\n"
_STACK = "[<0>] pipe_read+0x3df/0x470\n[<0>] vfs_read+0x2db/0x310\n"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            (_STAT.format("S"), "pipe_read", "0 0x8 0x424a78 0x10f8\n", ""),
            "p3 sleeps in pipe_read, in system call 0, after 0.0 s outside the kernel, 3.0 s in it and 1,203,441 faults",
        ),
        (
            (_STAT.format("R"), "0", "running\n", ""),
            "p3 is running or ready to, after 0.0 s outside the kernel, 3.0 s in it and 1,203,441 faults",
        ),
        (("78 (init) D 1 0\n", "", "", ""), "p3 waits for what no signal ends"),
        (("78 (init) Z what\n", "", "-1 0x0 0x0\n", ""), "p3 has ended"),
    ],
)
def test_the_files_of_a_process_become_a_sentence(files: tuple[str, str, str, str], sentence: str) -> None:
    lines = Silent("p3", *files).lines()
    assert lines == [f"the kernel says that {sentence}"]


def test_the_stack_follows_the_sentence() -> None:
    lines = Silent("p0", _STAT.format("S"), "pipe_read", "", _STACK).lines()
    assert lines[1:] == ["[<0>] pipe_read+0x3df/0x470", "[<0>] vfs_read+0x2db/0x310"]


@pytest.mark.parametrize("stat", ["", "78", "78 (init)", "78 (init) ? 1 0", "\\xff\n\n"])
def test_a_kernel_that_says_nothing_of_use_is_not_quoted(stat: str) -> None:
    assert Silent("p0", stat, "0", "", "").lines() == []


@pytest.mark.parametrize(
    ("state", "system", "is_kept_waiting"),
    [("R", 20, True), ("R", 296, False), ("S", 20, False), ("D", 20, False)],
    ids=["ready to run and not run", "in a loop", "asleep", "asleep for good"],
)
def test_who_is_ready_to_run_and_was_not_run_is_kept_waiting(state: str, system: int, is_kept_waiting: bool) -> None:
    stat = f"78 (init) {state} 1 0 0 0 -1 64 12 0 0 0 3 {system} 0 0 20 0 1 0 522"

    assert Silent("p0", stat, "0", "", "").is_kept_waiting(3.0) == is_kept_waiting


def test_of_who_no_time_is_known_nothing_is_known() -> None:
    assert not Silent("p0", "78 (init) R 1 0", "0", "", "").is_kept_waiting(3.0)
    assert not Silent("p0", "", "", "", "").is_kept_waiting(3.0)
