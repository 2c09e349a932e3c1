"""What a kernel must be able to do for an operation: words that a guest's probe answers, once, at boot.

Young kernels lack system calls. An operation that needs one that is missing is not drawn for such a guest, and a
contract that is about it is skipped with that reason; a system call that is there and answers wrongly is a finding.
The words are verbs (`remap`), or a verb and what is special about it (`map shared`). An operation that every kernel
must have, because without it no program runs at all, needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from harness.program.image import IMAGES, OWN
from harness.program.ops import (
    Advice,
    Advise,
    Ask,
    Backing,
    Exec,
    Map,
    Misuse,
    Op,
    Opened,
    Placement,
    Populate,
    Receive,
    Remap,
    Sharing,
    Try,
)
from harness.program.program import Program
from harness.program.text import format_op
from harness.program.units import WINDOW_BY_NAME
from harness.program.without import kept_without, without

BASIC = frozenset(
    {
        "map", "unmap", "protect", "load", "store", "fill", "print", "fork", "exec", "exit", "crash", "handle", "wait",
        "observe", "repeat",
    }
)  # fmt: skip
"""The verbs that a kernel has, or else nothing can be said about it."""


_CALLS = frozenset({"read", "write", "close", "pipe"})
"""What a misuse may begin with beside a verb: system calls that the agent itself cannot do without."""

_ADVICE = {
    Advice.FREE: "free",
    Advice.DONTFORK: "dontfork",
    Advice.DOFORK: "dontfork",
    Advice.WIPEONFORK: "wipeonfork",
    Advice.KEEPONFORK: "wipeonfork",
    Advice.POPULATE_READ: "populate",
    Advice.POPULATE_WRITE: "populate",
    Advice.COLD: "cold",
    Advice.PAGEOUT: "pageout",
    Advice.REMOVE: "remove",
}
"""The advice that not every madvise knows: which kernels came late to, or leave out."""


def needs(op: Op) -> frozenset[str]:
    """Give the abilities that `op` takes; none for the operations that every kernel has."""
    words = set() if op.verb in BASIC else {op.verb}
    if isinstance(op, Map):
        words.update(_of_map(op))
    if isinstance(op, Remap) and not op.pages.length:
        words.add("remap duplicate")
    if isinstance(op, Try):
        words.update({op.misuse.value.partition("-")[0]} - BASIC - _CALLS)
    if isinstance(op, Try) and op.misuse is Misuse.EXEC_NO_PROGRAM:
        words.add("exec no-program")
    if isinstance(op, Exec) and op.image != OWN:
        words.add(f"exec {op.image}")
    if isinstance(op, Advise) and op.advice in _ADVICE:
        words.add(f"advise {_ADVICE[op.advice]}")
    if isinstance(op, Receive):
        words.add(f"receive {op.via.value}")
    if isinstance(op, Ask):
        words.add(f"ask {op.query.value}")
    return frozenset(words)


def _of_map(op: Map) -> Iterator[str]:
    """Give what is special about a mapping."""
    if op.sharing is not Sharing.PRIVATE:
        yield "map shared"
    if op.backing != Backing.ANON:
        yield f"map {op.backing.name}"
    if op.backing.opened is not Opened.BOTH:
        yield "map opened"
    if op.placement is not Placement.FIXED:
        yield f"map {op.placement.value}"
    if op.populate is Populate.YES:
        yield "map populate"
    if WINDOW_BY_NAME[op.pages.window].watched:
        yield "map wide"


_PAGES = "p0: map a 2 rw private anon\n"

PROBES = {
    "map opened": "p0: map a 1 r private f:r",
    "map noreplace": "p0: map a 1 rw private anon noreplace",
    "map hint": "p0: map a 1 rw private anon hint",
    "map populate": "p0: map a 1 rw private anon fixed populate",
    "map shm": "p0: map a 1 rw shared shm",
    "map wide": "p0: map w 1026 rw private anon",
    "remap": _PAGES + "p0: remap a[0] b[0]",
    "roam": _PAGES + "p0: roam a[0] b[0]",
    "remap duplicate": "p0: map a 1 rw shared anon\np0: remap a[0]-4096 b[0]",
    "advise": _PAGES + "p0: advise a[0] dontneed",
    "advise free": _PAGES + "p0: advise a[0] free",
    "advise dontfork": _PAGES + "p0: advise a[0] dontfork",
    "advise wipeonfork": _PAGES + "p0: advise a[0] wipeonfork",
    "advise populate": _PAGES + "p0: advise a[0] populate-read",
    "advise cold": _PAGES + "p0: advise a[0] cold",
    "advise pageout": _PAGES + "p0: advise a[0] pageout",
    "advise remove": "p0: map a 1 rw shared anon\np0: advise a[0] remove",
    "receive pipe": _PAGES + "p0: receive pipe a[0] 1 0x22",
    "receive socket": _PAGES + "p0: receive socket a[0] 1 0x22",
    "ask cwd": _PAGES + "p0: ask cwd a[0]",
    "ask sigmask": _PAGES + "p0: ask sigmask a[0]",
    "ask itimer": _PAGES + "p0: ask itimer a[0]",
    "ask uname": _PAGES + "p0: ask uname a[0]",
    "ask cwd-short": _PAGES + "p0: ask cwd-short a[0]",
    "force": _PAGES + "p0: force a[0] 0x22",
    "poke": "p0: fork p1\np0: poke p1 data[0] 0x22",
    "peek": _PAGES + "p0: peek a[0] 1",
    "pin": _PAGES + "p0: pin a[0]",
    "splice": "p0: splice f 0",
    "feed": "p0: feed 0x22",
    "fix": _PAGES + "p0: fix a[0]",
    "vfork": "p0: vfork p1",
    "clone": "p0: clone p1",
    "reap": _PAGES + "p0: fork p1\np1: exit 0\np0: reap p1 a[0]",
    "sendfile": "p0: sendfile f 0 g 0 1",
    "copyrange": "p0: copyrange f 0 g 0 1",
    "punch": "p0: punch f 0 4096",
    "readv": _PAGES + "p0: readv f 0 a[0] a[1] 1",
    "threads": "p0: threads 1",
    "handover": "p0: handover exits",
    "kill": "p0: fork p1\np0: kill p1",
    "starve": "p0: starve 64",
    "refuse": "p0: refuse",
    "limit": "p0: limit 1",
    "brk": "p0: brk heap[0]",
    "exec no-program": "p0: try exec-no-program a[0]",
    "sync": _PAGES + "p0: sync a[0]",
    **{f"exec {name}": f"p0: exec {name}" for name in IMAGES if name != OWN},
}
"""For each ability a program whose last step needs it, and works on every kernel that has it."""

LESSER: tuple[tuple[str, str, str], ...] = (
    ("vfork", "p0: vfork p1 => done", "is a fork, whose parent runs on"),
    (
        "vfork",
        _PAGES + "p0: vfork p1\np1: store a[0] 0x11\np1: exit 0\np0: load a[0] => 0x11",
        "is a fork, whose child has other memory",
    ),
    ("map stack", "p0: map a[8] rw private stack\np0: store a[7] 0x11 => done", "does not grow"),
)
"""Calls that a kernel may have and that may do less there: the ability, a program with what its last step says where the
call does all that Linux's does, and the reason where it says something else.

Source: vfork(2), CONFORMING TO: "an implementation where the two are synonymous is compliant; in particular, the programmer
cannot rely on the parent remaining blocked"; MAP_GROWSDOWN is Linux's own, and mmap(2) ignores flags that it does not know.
"""

IMPLIED = {"feed": ("unpin", "pin", "splice"), "fix": ("deliver", "unfix")}
"""Abilities that go with another."""

MISSING = frozenset(
    {"ENOSYS", "EINVAL", "EOPNOTSUPP", "ENODEV", "ENOENT", "EACCES", "EPERM", "EAFNOSUPPORT", "EEXIST", "EXDEV"}
)
"""What a kernel says to a probe where it cannot do that; any other failure is a wrong answer, and a contract's business."""

ELSEWHERE = {"brk": "ENOMEM", "map wide": "ENOMEM"}
"""What it says where it has no room for that, or not where programs look for it.

4 MiB may be more than a kernel gives one process (mmap(2), ENOMEM: "no memory is available"). The heap begins right behind
the image on Linux, as long as nothing is random (load_elf_binary); brk(2) knows only "the program break", which other
kernels put higher: then a break at the place where programs expect it lies below the heap.
"""


def within(program: Program, lacking: AbstractSet[str]) -> Program:
    """Leave out the steps of `program` that need what is `lacking`, and those that make no sense without them.

    The processes that are left are named in the order in which they come to be; the same program where nothing is left out.
    """
    left_out = {number for number, op in enumerate(program.steps) if needs(op) & lacking}
    return without(program, left_out) if left_out else program


def left_out_lines(program: Program, lacking: Mapping[str, str]) -> list[str]:
    """Say of each step that `within` leaves out what the kernel lacks for it, and what it said to that, as in `lacking`."""
    why = {number: sorted(needs(op) & lacking.keys()) for number, op in enumerate(program.steps)}
    kept = {number for number, _ in kept_without(program, {number for number, words in why.items() if words})}
    lines = []
    for number, op in enumerate(program.steps):
        if number not in kept:
            said = ", ".join(f"cannot {word} ({lacking[word]})" for word in why[number])
            lines.append(f"step {number + 1} ({format_op(op)}): {said or 'makes no sense without the others'}")
    return lines
