"""`python -m harness COMMAND`; see `python -m harness --help`."""

from __future__ import annotations

import sys


def start() -> int:
    """Run the command line. The import is inside, because it takes a while and Ctrl-C may come then."""
    try:
        from harness.commands import main  # noqa: PLC0415
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(start())
