"""`story`: the five chapters, each told by a program that shows its bug."""

from __future__ import annotations

import shutil

import pytest

from harness.commands.cli import run
from harness.commands.story import STORIES, Story

Captured = pytest.CaptureFixture[str]

every_story = pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])


def test_the_stories_are_listed(capsys: Captured) -> None:
    status = run(["story"])

    out = capsys.readouterr().out
    assert status == 0
    assert all(story.name in out for story in STORIES)


@every_story
def test_a_story_shows_its_bug_and_conforms_without_it(story: Story, capsys: Captured) -> None:
    status = run(["story", story.name, "--guest", "model"])

    out = capsys.readouterr().out
    assert status == 0
    assert "WHAT THE KERNEL DID WRONG" in out
    assert out.rstrip().endswith("conforms on guest model.")
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
@every_story
def test_a_story_shows_on_the_small_kernel_too(story: Story, capsys: Captured) -> None:
    status = run(["story", story.name])

    assert status == 0
    assert "conforms on guest mini." in capsys.readouterr().out


def test_an_unknown_story_is_refused(capsys: Captured) -> None:
    assert run(["story", "nonsense"]) == 2
    assert "inflation" in capsys.readouterr().err
