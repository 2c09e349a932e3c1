"""`python -m harness COMMAND`; see `python -m harness --help`."""

from __future__ import annotations

import sys


def start() -> int:
    """Run the command line. The import is inside, because it takes a while and Ctrl-C may come then."""
    try:
        from harness.commands import main  # noqa: PLC0415
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as missing:
        if not missing.name or missing.name.partition(".")[0] == "harness":
            raise
        print(
            f"pagepact: the Python package {missing.name} is missing for {sys.executable}; "
            "use .venv/bin/python, which `make contracts` makes",
            file=sys.stderr,
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(start())
