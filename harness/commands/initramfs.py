"""`initramfs`: the agent as a root file system, for kernels that carry it inside their image."""

from __future__ import annotations

import re
from pathlib import Path

import click

from harness.guest.agent_build import build_agent
from harness.guest.definition_values import ARCHITECTURES
from harness.guest.initramfs import INIT, build_initramfs, fitting_archive

EXAMPLES = """\b
Examples:
    python -m harness initramfs -o agent.cpio
    python -m harness initramfs -o agent.cpio --pad 4M --init /sbin/init --init /bin/sh
"""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


class _Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, with K or M."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read "512K"; fails for anything that is no whole number above 0."""
        match = re.fullmatch(r"([1-9]\d*)([KM]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write a number of bytes, such as 524288 or 512K", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command(epilog=EXAMPLES)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="Where to write the archive (cpio, newc).",
)  # fmt: skip
@click.option("--pad", type=_Size(), metavar="SIZE", help="Fill it up to this size, as room for later agents.")
@click.option("--arch", type=click.Choice(ARCHITECTURES), default="x86_64", show_default=True, help="The kernel's.")
@click.option(
    "--init", multiple=True, default=(INIT,), metavar="PATH", help="Where the kernel looks for its first process."
)
def initramfs(*, output: Path, pad: int | None, arch: str, init: tuple[str, ...]) -> None:
    """Write an initramfs that holds the agent, to be built into a kernel.

    The kernel's definition then says initramfs = "embedded"; or "patch", where the agent of the day shall take the place
    of the one inside, for which --pad leaves room.
    """
    agent = build_agent(arch)
    build_initramfs(agent, output, paths=init, length=pad)
    missing = fitting_archive(agent, init, pad).left_out
    room = f"; no room for the images {', '.join(missing)}" if missing else ""
    click.echo(f"{output}: {output.stat().st_size:,} bytes, the agent for {arch} at {', '.join(init)}{room}")
