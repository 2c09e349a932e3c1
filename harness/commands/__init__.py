"""`python -m harness`: what can be done with a guest or a program from the command line.

A command is a module here with a click command; it is added to `cli` below.
"""

from __future__ import annotations

from harness.commands.bench import bench
from harness.commands.cli import cli, run
from harness.commands.contracts import contracts
from harness.commands.enumerate import enumerate_
from harness.commands.faults import faults
from harness.commands.guests import guests
from harness.commands.initramfs import initramfs
from harness.commands.matrix import matrix
from harness.commands.replay import replay
from harness.commands.show import show
from harness.commands.story import story

cli.add_command(replay)
cli.add_command(show)
cli.add_command(guests)
cli.add_command(contracts)
cli.add_command(faults)
cli.add_command(bench)
cli.add_command(matrix)
cli.add_command(initramfs)
cli.add_command(enumerate_)
cli.add_command(story)


def main() -> int:
    """Run the command that the process was called with; give its exit status."""
    return run()


__all__ = ["cli", "main"]
