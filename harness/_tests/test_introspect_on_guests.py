"""Both observers on real kernels: what the kernel publishes of each page, and what a walk of its tables finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agent.codec import observed_pages
from harness.errors import DefinitionError, RigError
from harness.guest.definition import load_definition
from harness.guest.definition_values import KernelCounts
from harness.guest.session import Session
from harness.guests import MachineSubject
from harness.introspect.page_walk import frame_of
from harness.introspect.view import Look, Observer
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, FrameFlag, Observation, Trace
from harness.subject import How

STORED = [
    path
    for path in sorted((Path(__file__).parents[2] / "fixtures" / "programs").glob("*.prog"))
    if not re.search(r" (crowd|throng) ", path.read_text(encoding="utf-8"))
]
"""Without those in which processes that nobody observes hold memory: not all who map a frame are known then."""
_FRAMES = KernelCounts("symbol", symbol="^frames$", pointer=True, element="u32", stride=16)
FRAMES = {"mini": _FRAMES, "mini-arm64": replace(_FRAMES, direct_map=0xFFFF_0000_0000_0000)}
"""mini's array of struct frame, which /proc/kpagerefs publishes too. On arm64 no table of a process leads to it."""
FAMILY = """
    p0: map a 4 rw private anon
    p0: store a[0] 0x11
    p0: store a[1] 0x22
    p0: load a[2]
    p0: store data[0] 0x33
    p0: load text[0]
    p0: protect a[1] none
    p0: fork p1
    p1: store a[0] 0x44
    p1: fork p2
    p2: exec
    p2: load data[0]
    p0: protect a[1] rw
    p0: store a[1] 0x55
    """


@pytest.fixture(scope="module", params=["linux", "mini", "mini-arm64"])
def subject(request: pytest.FixtureRequest) -> Iterator[MachineSubject]:
    definition = load_definition(request.param)
    if request.param in FRAMES:
        definition = replace(definition, counts=FRAMES[request.param])
    try:
        subject = MachineSubject(Session(definition))
    except DefinitionError:
        raise
    except RigError as error:
        pytest.skip(f"no machine to test: {error}")

    def begin(program: Program, _how: How) -> None:
        watched(subject).begin([vpn for pages in observed_pages(program) for vpn in pages.vpns])

    subject.outside.begin = begin  # type: ignore[assignment]  # counts are to be read though the kernel publishes them
    yield subject
    subject.close()


def watched(subject: MachineSubject) -> Observer:
    assert subject.observer is not None
    return subject.observer


def disagreements(seen: Observation, look: Look) -> Iterator[str]:
    """Say where the kernel's files and its page tables differ."""
    for slot, process in seen.processes.items():
        space = look.spaces.get(slot)
        if space is None:  # it shares another's, and nothing tells whose
            continue
        for vpn, page in process.pages.items():
            leaf = space.leaf(vpn)
            walked = frame_of(leaf, vpn) if leaf else None
            if page.frame != walked:
                yield f"after {look.after}: p{slot} {vpn:#x} is {page.frame} by pagemap, and {walked} in its table"
    counts = look.mapcounts()
    huge = [leaf for space in look.spaces.values() for leaf in space.leaves.values() if leaf.npages > 1]
    for frame, numbers in seen.frames.items():
        if numbers.flags and numbers.flags & FrameFlag.ZERO_PAGE:
            continue
        if numbers.mapcount != counts[frame]:
            yield f"after {look.after}: frame {frame:#x} has mapcount {numbers.mapcount}, and {counts[frame]} entries"
        if any(0 <= frame - leaf.frame < leaf.npages for leaf in huge):
            continue  # each kernel counts these in a way of its own, so nobody reads it
        outside = look.counts[frame]
        if numbers.refcount != outside.refcount:
            yield f"after {look.after}: frame {frame:#x} has refcount {numbers.refcount}, and in memory {outside.refcount}"
        if outside.flags is not None and outside != numbers:
            yield f"after {look.after}: frame {frame:#x} is published as {numbers}, and {outside} in memory"


def compared(subject: MachineSubject, trace: Trace) -> tuple[int, list[str]]:
    """Count the observations that both made, and list where they disagree."""
    looks = {look.after: look for look in watched(subject).looks}
    pairs = [(seen, looks[seen.after]) for seen in trace.observations if seen.processes]
    return len(pairs), [each for seen, look in pairs for each in disagreements(seen, look)]


def test_both_observers_agree_page_by_page(subject: MachineSubject) -> None:
    trace = subject.execute(parse_program(FAMILY), How(dense=True, pte_bits=True))

    count, wrong = compared(subject, trace)

    assert trace.ending is Ending.COMPLETE
    assert (count, wrong) == (14, [])


def test_both_observers_agree_on_every_program_that_is_stored(subject: MachineSubject) -> None:
    total, wrong = 0, []
    for path in STORED:
        trace = subject.execute(parse_program(path.read_text(encoding="utf-8")), How(dense=True, pte_bits=True))
        if trace.ending is not Ending.COMPLETE:  # an operation that this kernel does not have
            subject.restore()
            continue
        count, found = compared(subject, trace)
        total += count
        wrong += [f"{path.name} {each}" for each in found]

    assert wrong == []
    assert total > 300


def test_the_writable_bit_is_gone_after_fork_and_back_after_the_copy(subject: MachineSubject) -> None:
    program = parse_program("p0: map a 1 rw private anon\np0: store a[0] 1\np0: fork p1\np1: store a[0] 2")

    trace = subject.execute(program, How(dense=True, pte_bits=True))

    (vpn,) = trace.observations[1].processes[0].pages
    bits = [{slot: seen.pages[vpn].writable for slot, seen in each.processes.items()} for each in trace.observations[1:]]
    assert bits[0] == {0: True}
    assert bits[1].pop(0) is False
    assert bits[1] in ({1: False}, {1: None})  # the entry is copied now, or when the child needs it
    assert bits[2] == {0: False, 1: True}


def test_the_root_tables_are_known_after_a_while(subject: MachineSubject) -> None:
    program = parse_program(FAMILY)
    for _ in range(30):
        subject.execute(program, How(pte_bits=True))
    before = watched(subject).roots.searches

    for _ in range(10):
        subject.execute(program, How(pte_bits=True))

    assert watched(subject).roots.searches - before <= 10  # at 3 processes an observation
    assert Level.PTE_BITS in subject.levels


def test_bits_tell_what_was_read_and_what_was_written(subject: MachineSubject) -> None:
    text = "p0: map a 3 rw private anon\np0: store a[0] 1\np0: load a[1]\np0: fork p1\np0: load a[0]\np1: store a[0] 2"

    trace = subject.execute(parse_program(text), How(dense=True, pte_bits=True))

    if subject.name == "mini-arm64":
        pytest.skip("a CPU without FEAT_HAFDBS leaves it to the kernel to note what was written, and where")
    vpn = min(trace.observations[0].processes[0].pages)
    written = trace.observations[1].processes[0].pages[vpn]
    read = trace.observations[2].processes[0].pages[vpn + 1]
    copied = trace.observations[-1].processes[1].pages[vpn]
    untouched = trace.observations[-1].processes[0].pages[vpn + 2]
    assert (written.accessed, written.dirty) == (True, True)
    assert (read.accessed, read.dirty) == (True, False)
    assert (copied.accessed, copied.dirty) == (True, True)
    assert not untouched.dirty  # it may be there, where a kernel prefaults
