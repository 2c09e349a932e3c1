"""Nothing is lost, and nothing is left behind."""

from __future__ import annotations

from hypothesis import given, settings

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Exec, Fork, Store
from harness.program.program import Program
from harness.program.text import parse_program
from strategies.programs import programs
from strategies.rounds import MOST_STEPS, in_rounds


@contract(
    "conserve.frames",
    catches=(
        "dec-only-teardown",
        "no-vm-drop",
        "cache-keeps-ref-after-truncate",
        "punch-keeps-hold",
        "exit-leaks-shared-memory",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        """,
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        observe
        p0: exec
        p1: exit 0
        """,
        """
        p0: map a 2 rw shared f
        p0: load a[1]
        observe
        p0: truncate f 4096
        """,
        """
        p0: map a 2 rw shared f
        p0: store a[1] 0x11
        observe
        p0: punch f 4096 8192
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        """,
        containing=(Store,),
    )
)
def test_every_frame_comes_back(guest: Guest, program: Program) -> None:
    """After the last process of a program is reaped, every frame it had is free or in the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.frames")


ROUNDS = {
    "fork and exit": "p0: fork p1; p1: store data[0] 0x11; p1: exit 0; p0: wait p1",
    "fork, exec and exit": "p0: fork p1; p1: exec; p1: store bss[0] 0x11; p1: exit 0; p0: wait p1",
    "exec": "p0: exec; p0: store data[0] 0x11",
    "death": "p0: fork p1; p1: store bss[0] 0x11; p1: crash load a[0]; p0: wait p1",
    "mappings": "p0: map a 4 rw private anon; p0: store a[3] 0x11; p0: protect a[1..2] r; p0: unmap a[0..3]",
    "files": "p0: map b 2 rw shared f; p0: store b[0] 0x11; p0: map b 2 rw private f; p0: store b[1] 0x22",
    "a stack": (
        "p0: fork p1; p1: map a[8] rw private stack; p1: store a[8] 0x11; p1: store a[5] 0x22; p1: exit 0; p0: wait p1"
    ),
    "shared memory": "p0: map a 2 rw shared anon; p0: fork p1; p1: store a[1] 0x11; p1: exit 0; p0: wait p1",
    "moves": "p0: map a 2 rw private anon; p0: fill a[0] 0x11; p0: remap a[0..1] c[3..4]; p0: unmap c[3..4]",
    "heap": "p0: brk heap[4]; p0: store heap[3] 0x11; p0: brk heap[0]",
    "advice": "p0: map a 2 rw private anon; p0: fill a[1] 0x11; p0: advise a[0..1] dontneed",
    "pins": (
        "p0: map a 2 rw private anon; p0: store a[1] 0x11; p0: pin a[1]; p0: store a[1] 0x22; p0: unmap a[0..1]; p0: unpin"
    ),
    "spliced pages": "p0: splice f 100; p0: feed 0x66; p0: unpin; p0: unpin",
    "a fixed buffer": (
        "p0: map a 1 rw private anon; p0: fix a[0]; p0: fork p1; p1: exit 0; p0: wait p1; p0: deliver a[0] 0x55; p0: unfix"
    ),
    "truncation": "p0: map b 2 rw private f; p0: store b[1] 0x11; p0: truncate f 0; p0: truncate f 8192; p0: load b[1]",
    "holes": (
        "p0: map a 2 rw shared f; p0: map b 2 rw private f; p0: store a[0] 0x11; p0: store b[1] 0x22; "
        "p0: punch f 100 8192; p0: load a[1]; p0: load b[0]; p0: advise a[0] remove; p0: store a[0] 0x33"
    ),
    "stores by the kernel": (
        "p0: fork p1; p1: receive pipe data[0] 17 0x33; p1: force text[0] 0x44; p1: exit 0; p0: wait p1"
    ),
    "copies of files": (
        "p0: write f 100 data[0] 17; p0: sendfile f 100 g 5000 17; p0: copyrange f 100 g 9000 17; p0: truncate g 0"
    ),
    "parts of shared memory": (
        "p0: map a 4 rw shared anon; p0: fill a[1] 0x11; p0: protect a[1..2] r; p0: protect a[1..2] rw; p0: unmap a[1]; "
        "p0: unmap a[0..3]"
    ),
    "parts of a file": (
        "p0: map b 4 rw private f; p0: store b[1] 0x11; p0: unmap b[1]; p0: map b[1] rw private f+1; p0: unmap b[0..3]"
    ),
    "mappings that fail": (
        "p0: limit 3; p0: map a 2 rw shared anon; p0: store a[1] 0x11; p0: map b 2 rw shared anon; "
        "p0: map b 2 rw private f; p0: remap a[0..1] a[0..3]; p0: remap a[0..1] c[0..7]; p0: brk heap[3]; "
        "p0: map a[1..2] rw private anon noreplace; p0: try map-beyond a[0]; p0: try map-bad-file a[0]; p0: unmap a[0..1]"
    ),
    "execs that fail": "p0: try exec-bad-path a[0]; p0: try exec-bad-argument a[0]; p0: try exec-no-program a[0]",
    "copies that fail": (
        "p0: map a[0] rw private anon; p0: map a[1] none private anon; p0: write f 0 a[0]+4090 17; p0: write f 0 a[1] 17; "
        "p0: write f 4096 a[0]+4090 17; p0: read f 0 a[0]+4090 17; p0: read f 4096 a[1] 17; "
        "p0: truncate f 0; p0: truncate f 8192"
    ),
    "touches behind the end of a file": (
        "p0: map a 2 rw private g+2; p0: map b 2 rw shared g+2; p0: store a[0] 0x11; p0: store a[1] 0x11; p0: load b[1]; "
        "p0: store b[0] 0x22; p0: read f 100 a[1] 17; p0: force a[0] 0x33"
    ),
    "forks that fail": (
        "p0: map a 2 rw shared anon; p0: store a[1] 0x11; p0: map b 2 rw private f; p0: store b[1] 0x22; p0: refuse; "
        "p0: starve 6; p0: unmap a[0..1]; p0: unmap b[0..1]"
    ),
    "stores that fail": (
        "p0: map a 2 rw private anon; p0: map a[1] none private anon; p0: read f 100 a[0]+4090 17; "
        "p0: write f 0 a[0]+4090 17; p0: write f 0 a[1] 17; p0: receive pipe a[1] 17 0x33; "
        "p0: receive socket a[1] 17 0x33; p0: pin a[1]; p0: try pipe-bad-pointer a[1]; p0: fork p1; p1: exit 0; "
        "p0: reap p1 a[1]; p0: try exec-missing a[0]"
    ),
}
"""Steps that come back to where they began, so that as many rounds of them as one likes need no more memory than one.

Two hundred rounds are more than a small kernel has inodes, files or pipes: it shows, too, where one of these stays behind.
Of rounds that fork there are half as many, and of forks that find too little memory, which take longest, a third.
"""


def _rounds(body: str) -> int:
    return 64 if "starve" in body else 100 if "fork" in body or "exec" in body else 200


@contract(
    "conserve.free-memory",
    catches=(
        *("exec-leaks-frame", "fork-leaks-frame", "fork-leaks-at-times", "pin-leaks", "stack-growth-leaks"),
        *("failed-copy-keeps-page", "failed-exec-leaks-space"),
    ),
)
def test_rounds_of_the_same_steps_cost_no_memory(guest: Guest) -> None:
    """Rounds of the same steps cost no memory, however many: what they take from the free memory they give back."""
    programs = [
        parse_program(f"p0: repeat {_rounds(body)} {body.count(';') + 1}\n" + body.replace("; ", "\n"))
        for body in ROUNDS.values()
    ]

    for program in programs:
        verdict = guest.run(program)

        assert_conforms(verdict, to="conserve.free-memory")


ROUNDS_OF_ANYTHING = 96
STEPS = programs(max_steps=MOST_STEPS) | programs(max_steps=MOST_STEPS, containing=(Fork, Exec))
"""Half of them do what a shell does all day."""


@contract("conserve.free-memory", catches=("exec-leaks-frame", "fork-leaks-frame", "fork-leaks-at-times"))
@settings(max_examples=max(1, settings().max_examples // 8))  # a round takes as long as a program
@given(program=in_rounds(STEPS, ROUNDS_OF_ANYTHING))
def test_rounds_of_any_steps_cost_no_memory(guest: Guest, program: Program) -> None:
    """Rounds of the same steps cost no memory, however many: what they take from the free memory they give back."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="conserve.free-memory")
