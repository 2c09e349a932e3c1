"""`python -m harness`, before any of its commands."""

from __future__ import annotations

import sys

import pytest

from harness.__main__ import start


def test_a_python_without_the_packages_is_told_which_one_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "harness.commands", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    for name in [name for name in sys.modules if name.startswith("harness.commands.")]:
        monkeypatch.delitem(sys.modules, name)

    status = start()

    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("pagepact: the Python package click is missing for ")
    assert said.endswith("use .venv/bin/python, which `make contracts` makes\n")
