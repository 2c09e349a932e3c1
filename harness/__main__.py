"""`python -m harness COMMAND`; see `python -m harness --help`."""

from __future__ import annotations

import sys

from harness.commands import main

if __name__ == "__main__":
    sys.exit(main())
