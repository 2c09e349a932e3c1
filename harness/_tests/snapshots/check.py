"""Holds a text against the one that is stored here; `UPDATE_SNAPSHOTS=1 pytest …` stores it anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def check_snapshot(name: str, text: str) -> None:
    """Assert that `text` is what the file `name` says. Read a new text before you commit it."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"there is no snapshot {name}; UPDATE_SNAPSHOTS=1 stores it"
    assert text == path.read_text(encoding="utf-8")
