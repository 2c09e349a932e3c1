"""The programs that are kept because they found a bug once, or because the field knows them: they come before luck."""

from __future__ import annotations

from itertools import islice

from contracts.contract import ANY, PROGRAMS, assert_conforms, contract
from contracts.plugin.guest import Guest
from harness.program.text import parse_program

FILES = sorted(PROGRAMS.glob("*.prog"))

ENOUGH = 8
"""After so many findings the kernel is known to be broken, and the shortest program is short."""


@contract("any.program")
def test_every_stored_program_conforms(guest: Guest) -> None:
    """Whatever a program does, the kernel keeps every contract that the guest can show."""
    programs = [parse_program(path.read_text(encoding="utf-8"), source=str(path)) for path in FILES]

    verdicts = (guest.run(program, whole=True) for program in programs)
    broken = list(islice((verdict for verdict in verdicts if not verdict.conforms), ENOUGH))

    if broken:
        assert_conforms(min(broken, key=lambda verdict: len(verdict.program)), to=ANY)
