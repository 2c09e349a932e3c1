"""A kernel that publishes nothing, with the counts that it keeps for itself: found by symbol, and held to the model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import DefinitionError, ToolMissing
from harness.guest.definition import load_definition
from harness.guest.definition_values import KernelCounts
from harness.guest.session import Session
from harness.guests import MachineSubject, semantics_of
from harness.program.abilities import within
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending
from harness.runner import Runner
from harness.subject import How

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "programs"
FRAMES = KernelCounts("symbol", symbol="^frames$", pointer=True, element="u32", stride=16)
"""mini's array of struct frame, whose first field is the refcount."""
GUESTS = {"mini": FRAMES, "mini-arm64": replace(FRAMES, direct_map=0xFFFF_0000_0000_0000)}
"""On arm64 the kernel's addresses are in tables of their own, which no process leads to."""
FAULTS = {
    "no-vm-drop": ("seed-inflation", "count.equals-references"),
    "fork-forgets-ref": ("fault-fork-forgets-ref", "count.equals-references"),
    "cow-keeps-old-ref": ("fault-cow-keeps-old-ref", "cow.old-frame-released"),
    "eager-prefault": ("seed-eager-prefault", "prefault.budget"),
    "cow-shares": ("fault-cow-shares", "cow.no-writable-shared"),
    "mprotect-grants-shared-write": ("fault-mprotect-grants-shared-write", "mprotect.never-breaks-isolation"),
}

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")


@contextmanager
def silent(*faults: str, guest: str = "mini", counts: KernelCounts | None = None) -> Iterator[Runner]:
    """Open mini without /proc and /sys."""
    definition = replace(load_definition(guest), counts=counts or GUESTS[guest])
    try:
        subject = MachineSubject(Session(definition.with_append("quirk=no-proc").with_faults(faults)))
    except ToolMissing as missing:
        pytest.skip(str(missing))
    runner = Runner(subject, semantics_of(subject))
    try:
        yield runner
    finally:
        runner.close()


def stored(name: str) -> Program:
    return parse_program((PROGRAMS / f"{name}.prog").read_text(encoding="utf-8"))


def test_every_level_is_named_with_where_it_comes_from() -> None:
    with silent() as runner:
        subject = runner.subject
        assert isinstance(subject, MachineSubject)

        header = subject.header()

        assert subject.sources == {
            Level.OUTCOMES: "inside",
            Level.ALIVE: "inside",
            Level.FRAMES: "outside",
            Level.MAPCOUNTS: "outside",
            Level.PTE_BITS: "outside",
            Level.REFCOUNTS: "symbol frames",
        }
        assert {"from outside: frames, mapcounts, pte_bits", "from symbol frames: refcounts"} <= set(header)
        assert not any(line.startswith("note: the counts") for line in header)


@pytest.mark.parametrize("guest", GUESTS)
def test_counts_that_nobody_named_are_found_and_can_be_read_where_they_were_found(guest: str) -> None:
    definition = replace(load_definition(guest).with_append("quirk=no-proc"), counts=None)
    try:
        subject = MachineSubject(Session(definition))
    except ToolMissing as missing:
        pytest.skip(str(missing))
    with closing(subject):
        sentence, *lines = subject.suggest_counts()
        assert (
            subject.execute(parse_program("p0: map a 1 rw private anon\np0: store a[0] 1"), How()).ending is Ending.COMPLETE
        )

    assert sentence.startswith("what counts the holders of frames lies in its memory, one every 16 bytes, that of frame ")
    place = ["direct_map = 0xffff000000000000"] if guest == "mini-arm64" else []
    assert lines == ["[counts]", "symbol = '^frames$'", "pointer = true", "element = 'u32'", "stride = 16", *place]


def test_a_kernel_that_shows_its_counts_is_not_searched() -> None:
    with silent() as runner:
        assert isinstance(runner.subject, MachineSubject)
        assert runner.subject.suggest_counts() == []


@pytest.mark.parametrize("guest", GUESTS)
def test_a_sound_kernel_is_not_accused(guest: str) -> None:
    found = []
    with silent(guest=guest) as runner:
        assert isinstance(runner.subject, MachineSubject)
        for path in sorted(PROGRAMS.glob("*.prog")):
            verdict = runner.run(within(stored(path.stem), runner.subject.lacking.keys()), How(pte_bits=True))
            found += [f"{path.stem}: {each}" for each in verdict.divergences]

    assert found == []


@pytest.mark.parametrize("fault", [None, "cow-keeps-old-ref"])
def test_who_holds_a_page_that_another_has_in_swap_may_be_the_swap_cache_too(fault: str | None) -> None:
    begin = "p0: map a 2 rw private anon\np0: fill a[0] 0x11\np0: advise a[0] pageout\np0: fork p1\np0: load a[0]\n"
    copied = "observe\np1: load a[0]\np1: store a[0] 0x22\n"
    with silent(*filter(None, [fault])) as runner:
        verdict = runner.run(parse_program(begin + copied))

    assert verdict.conforms is (fault is None)


@pytest.mark.parametrize("guest", GUESTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_what_only_the_kernels_memory_tells(fault: str, guest: str) -> None:
    program, contract = FAULTS[fault]
    with silent(fault, guest=guest) as runner:
        verdict = runner.run_sequence([stored(program)], How(dense=True, pte_bits=True))

        assert contract in verdict.contracts


def test_a_frame_that_is_never_given_back_is_lost() -> None:
    with silent("no-vm-drop") as runner:
        verdict = runner.run(parse_program("p0: map a 1 rw private anon\np0: store a[0] 0x11"))

        assert verdict.contracts == {"conserve.frames", "exit.drops-all"}


@pytest.mark.parametrize(
    "wrong", [replace(FRAMES, stride=12), replace(FRAMES, offset=8), replace(FRAMES, bias=5), replace(FRAMES, sole=1)]
)
def test_counts_that_do_not_fit_are_noted_unless_they_read_as_they_should(wrong: KernelCounts) -> None:
    with silent(counts=wrong) as runner:
        notes = [line for line in runner.subject.header() if line.startswith("note: the counts of symbol frames read ")]

        assert len(notes) == (wrong.sole is None)


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        (replace(FRAMES, symbol="^frames_here$"), "matches no object"),
        (replace(FRAMES, symbol="frame"), "matches [0-9]+ objects"),
        (replace(FRAMES, pointer=False), "is it a pointer to one"),
        (replace(FRAMES, base=1 << 39), "lies in no memory of the guest"),
        (KernelCounts("vmcoreinfo"), "no VMCOREINFO in the guest's memory"),
    ],
)
def test_counts_that_are_not_there_are_refused_when_the_guest_is_opened(counts: KernelCounts, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint), silent(counts=counts):
        pass


def test_a_packed_kernel_has_no_symbols() -> None:
    definition = replace(load_definition("linux"), counts=replace(FRAMES, symbol="^mem_map$"))
    if definition.kernel.source == "debian" and shutil.which("apt-get") is None:
        pytest.skip("there is no kernel to fetch")

    with pytest.raises(DefinitionError, match=r"is no ELF file, and so has no symbols .*: name .* with counts\.symbols"):
        MachineSubject(Session(definition))
