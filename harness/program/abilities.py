"""What a kernel must be able to do for an operation: words that a guest's probe answers, once, at boot.

Young kernels lack system calls. An operation that needs one that is missing is not drawn for such a guest, and a
contract that is about it is skipped with that reason; a system call that is there and answers wrongly is a finding.
The words are verbs (`remap`), or a verb and what is special about it (`map shared`). An operation that every kernel
must have, because without it no program runs at all, needs nothing.
"""

from __future__ import annotations

from harness.program.ops import Advice, Advise, Backing, Map, Op, Sharing, Try

_BASIC = frozenset(
    {
        "map", "unmap", "protect", "load", "store", "fill", "print", "fork", "exec", "exit", "crash", "wait", "observe",
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
}
"""The advice that not every madvise knows: which kernels came late to, or leave out."""


def needs(op: Op) -> frozenset[str]:
    """Give the abilities that `op` takes; none for the operations that every kernel has."""
    words = set() if op.verb in _BASIC else {op.verb}
    if isinstance(op, Map) and op.sharing is not Sharing.PRIVATE:
        words.add("map shared")
    if isinstance(op, Map) and op.backing != Backing.ANON:
        words.add(f"map {op.backing.name}")
    if isinstance(op, Try):
        words.update({op.misuse.value.partition("-")[0]} - _BASIC - _CALLS)
    if isinstance(op, Advise) and op.advice in _ADVICE:
        words.add(f"advise {_ADVICE[op.advice]}")
    return frozenset(words)
