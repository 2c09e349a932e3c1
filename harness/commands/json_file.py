"""The --json file of a command: checked before the work begins, written when it is done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness.errors import StorageError


def check_json_file(path: Path | None) -> None:
    """Raise StorageError where the file could not be written: better now than after ten minutes."""
    if path is None:
        return
    target = path if path.exists() else path.parent
    if path.is_dir() or not os.access(target, os.W_OK):
        raise StorageError(f"--json {path} cannot be written; name a file in a folder that is there")


def write_json_file(path: Path | None, content: Any) -> None:
    """Write the file, where there is to be one. Raises StorageError."""
    if path is None:
        return
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--json {path} cannot be written: {error.strerror or error}") from error
