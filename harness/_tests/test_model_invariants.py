"""The invariants hold after every step of many programs, and each of them can fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from harness.model.adopt import Presence, adopt_presence, adopt_zero, expected_pages
from harness.model.frame import JUNK, FrameKind
from harness.model.invariants import INVARIANTS, broken
from harness.model.machine import Machine
from harness.model.page_table import PTE, Directory
from harness.model.prefault import Whose, adopt_prefault, guessed_places, settle
from harness.model.presets import LINUX_6_1, PRESETS
from harness.model.process import State
from harness.model.semantics import Choice, Semantics, SoleOwner
from harness.model.step import step
from harness.model.vma import Vma
from harness.program.image import IMAGES, OWN
from harness.program.ops import (
    Access,
    Ask,
    Backing,
    Clone,
    Crash,
    Deliver,
    Exec,
    Exit,
    Fill,
    Fix,
    Force,
    Fork,
    Handle,
    Load,
    Map,
    Observe,
    Op,
    Peek,
    Pin,
    Print,
    Protect,
    Punch,
    Query,
    Read,
    Reap,
    Receive,
    Remap,
    Sharing,
    Store,
    Sync,
    Truncate,
    Try,
    Unfix,
    Unlink,
    Unmap,
    Unpin,
    Vfork,
    Via,
    Wait,
    Write,
)
from harness.program.program import MAX_PROCESSES, Family, Program
from harness.program.text import parse_program
from harness.program.units import WINDOW_BY_NAME, WINDOWS, Address, PageRange, Prot

BSS = WINDOW_BY_NAME["bss"].vpn
DATA = WINDOW_BY_NAME["data"].vpn
EVERYTHING_OPEN = Semantics(
    "everything-open",
    zero_page_on_read=Choice.EITHER,
    sole_owner_write=SoleOwner.EITHER,
    pinned_owner_write=SoleOwner.EITHER,
    fork_copies_clean_ptes=Choice.EITHER,
    protect_grants_write=Choice.EITHER,
    prefault_budget=8,
    file_pages_may_appear=True,
    image_may_be_copied=True,
)
KERNELS = [
    *PRESETS.values(),
    EVERYTHING_OPEN,
    replace(LINUX_6_1, protect_grants_write=Choice.ALWAYS),
    replace(EVERYTHING_OPEN, name="copies-on-fork", fork_copies_pages=True),
    replace(EVERYTHING_OPEN, name="copies-files", file_may_be_copied=True),
    replace(EVERYTHING_OPEN, name="frees-at-wait", zombies_keep_memory=True, fork_protects_shared=True),
    replace(EVERYTHING_OPEN, name="keeps-what-is-cut", cut_pages_may_stay=True),
    replace(EVERYTHING_OPEN, name="all-or-nothing", looks_at_whole_buffer=True, copy_stops_at_refused_page=False),
]

WEIGHTS: dict[type[Op], int] = {
    Map: 10, Unmap: 3, Protect: 6, Load: 15, Store: 25, Fill: 5, Print: 3, Fork: 8, Exec: 2, Exit: 2, Crash: 1, Wait: 5,
    Handle: 1, Observe: 1, Receive: 8, Ask: 3, Reap: 2, Force: 3, Vfork: 2, Clone: 2,
    Read: 3, Write: 3, Truncate: 2, Punch: 2, Unlink: 1, Sync: 1,
}  # fmt: skip
PINS: dict[type[Op], int] = {Pin: 8, Unpin: 3, Fix: 6, Deliver: 20, Unfix: 1}
"""What their answers show of the frames may depend on the kernel."""

# ------------------------------------------------------------------------------ many programs


def random_program(seed: int, length: int, weights: dict[type[Op], int] | None = None) -> Program:
    """Make a well-formed program of `length` steps; few pages, so that they are met again and again."""
    rng = random.Random(seed)
    family = Family()
    steps: list[Op] = []
    while len(steps) < length:
        op = _random_op(rng, family, weights or WEIGHTS)
        if op is not None:
            family.apply(op)
            steps.append(op)
    return Program(tuple(steps))


def _random_op(rng: random.Random, family: Family, weights: dict[type[Op], int]) -> Op | None:
    process = rng.choice(sorted(family.active))
    window = rng.choice([*WINDOWS[:3], *map(WINDOW_BY_NAME.__getitem__, ("data", "bss", "heap"))])
    page = Address(window.name, rng.randrange(min(window.npages, 4)))
    at = replace(page, offset=rng.choice([0, 1, 4095]))
    pages = PageRange(window.name, page.index, rng.randint(1, min(window.npages, 4) - page.index))
    prot = rng.choice([Prot.NONE, Prot.R, Prot.W, Prot.R | Prot.W, Prot.R | Prot.W, Prot.R | Prot.X])
    value = rng.randrange(256)
    child = len(family.parent)
    ended = family.waitable(process)
    file = rng.choice(["f", "f", "f", "m", "g"])
    place, length = rng.choice([0, 100, 4090, 4096, 8192, 13288]), rng.choice([1, 17, 4096])
    sharing, backing = rng.choice(list(Sharing)), Backing(file, rng.randrange(4)) if rng.random() < 0.5 else Backing.ANON
    span = min(length, (window.npages - at.index) * 4096 - at.offset)
    kind = rng.choices(list(weights), list(weights.values()))[0]
    inside = replace(at, offset=at.offset if page.index < 1 else at.offset % 4095)
    made: dict[type[Op], Op | None] = {
        Map: Map(process, pages, prot, sharing, backing),
        Read: Read(process, file, place, at, span),
        Write: Write(process, file, place, at, span),
        Truncate: Truncate(process, file, rng.choice([0, 4096, 5000, 13288, 16384, 20480])),
        Punch: Punch(process, file, place, place + 2 * length),
        Unlink: Unlink(process, rng.choice(["f", "g"])),
        Sync: Sync(process, pages),
        Unmap: Unmap(process, pages),
        Protect: Protect(process, pages, prot),
        Load: Load(process, at),
        Store: Store(process, at, value),
        Fill: Fill(process, page, value),
        Print: Print(process, page, 1 + value % 64),
        Fork: Fork(process, child) if child < MAX_PROCESSES else None,
        Vfork: Vfork(process, child) if child < MAX_PROCESSES else None,
        Clone: Clone(process, child) if child < MAX_PROCESSES else None,
        Exec: Exec(process, rng.choice([OWN, OWN, *IMAGES])),
        Exit: Exit(process, value) if len(family.live) > 1 else None,
        Crash: Crash(process, rng.choice(list(Access)), at) if len(family.live) > 1 else None,
        Handle: Handle(process, page) if len(family.live) > 1 else None,
        Wait: Wait(process, rng.choice(ended)) if ended else None,
        Observe: Observe(0),
        Receive: Receive(process, rng.choice([*Via]), inside, 1 + value % 9, value),
        Ask: Ask(process, rng.choice([*Query]), inside),
        Reap: Reap(process, rng.choice(ended), inside) if ended else None,
        Force: Force(process, at, value),
        Pin: Pin(process, at),
        Unpin: Unpin(process),
        Fix: Fix(process, page),
        Deliver: Deliver(process, at, value),
        Unfix: Unfix(process),
    }
    return made[kind]


def adopt_at_random(machine: Machine, rng: random.Random) -> None:
    """Do what the comparison does with a guest that tosses a coin at each choice."""
    for process in machine.live:
        for vpn, page in expected_pages(machine, process.number).items():
            if page.presence is not Presence.OPTIONAL:
                continue
            if page.frame is not None:
                adopt_presence(machine, process.number, vpn, rng.random() < 0.5)
            elif rng.random() < 0.1 and not page.is_doubtful:
                adopt_prefault(machine, process.number, vpn, rng.choice([*Whose]))
    own = [(rng.choice("AB"), Whose.OWN), ("zero", Whose.ZERO), ("cache", Whose.CACHE), ("?", Whose.UNKNOWN)]
    settle(machine, {(place.process.number, place.vpn): rng.choice(own) for place in guessed_places(machine)})
    for frame in sorted(machine.pool.in_use, key=lambda each: each.serial):
        if frame.kind is FrameKind.UNDETERMINED and frame.content == bytes(4096):
            adopt_zero(frame, rng.random() < 0.5)


@pytest.mark.parametrize("semantics", KERNELS, ids=lambda each: each.name)
def test_every_invariant_holds_after_every_step(semantics: Semantics) -> None:
    for seed in range(12):
        rng = random.Random(seed)
        machine = Machine(semantics)
        for op in random_program(seed, 50, WEIGHTS | PINS).steps:
            allowed = step(machine, op)
            if allowed.adopt is not None:
                allowed.adopt(rng.choice(allowed.outcomes))
            if isinstance(op, Observe) or rng.random() < 0.1:
                adopt_at_random(machine, rng)

            assert broken(machine) == [], f"seed {seed}, {op}"
            assert bool(allowed.outcomes) == (not isinstance(op, Observe))
            has_choice = isinstance(op, Pin | Unpin | Fix)
            has_choice |= semantics.errors_may_differ and isinstance(op, Remap | Peek | Force | Try)
            assert len(allowed.outcomes) <= 1 or has_choice
            most = 2 if isinstance(op, Read | Write) else 1 + len({vpn for vpn, _, _ in machine.stored})
            assert 0 <= machine.last_faults_least <= machine.last_faults <= most


def test_what_a_process_can_see_does_not_depend_on_the_kernels_choices() -> None:
    # Kernels that fail a write(2) which others cut short differ in what a process sees, and say so in their preset.
    # So do those whose signals take two pages of a stack where they take one in others. Errors are held to Linux's, and
    # so is how much is done of a copy into memory which goes on with a page that refuses it.
    kernels = [
        replace(kernel, errors_may_differ=False, copy_unit=LINUX_6_1.copy_unit)
        for kernel in KERNELS
        if not (kernel.write_wants_whole_part or kernel.looks_at_whole_buffer) and kernel.signal_frame_pages == 1
    ]
    for seed in range(20):
        program = random_program(seed, 50)
        seen = {tuple(step(machine, op).outcomes for op in program.steps) for machine in map(Machine, kernels)}

        assert len(seen) == 1


def test_the_random_programs_reach_every_event() -> None:
    reached: set[str] = set()
    for seed in range(240):
        machine = Machine(LINUX_6_1)
        for op in random_program(seed, 50, WEIGHTS | PINS).steps:
            step(machine, op)
        reached |= set(machine.reach)

    assert reached >= {
        "map", "map.over", "unmap", "protect", "protect.enomem", "print", "print.efault", "fault.zero",
        "fault.anon", "fault.file", "fault.segv.maperr", "fault.segv.accerr", "cow.copy", "cow.reuse",
        "fork", "exec", "exit", "crash.sigkill", "crash.sigsegv", "handle.stored",
        "handle.refused", "wait",
        "kernel_store", "kernel_store.partial", "kernel_store.efault", "force", "force.eio", "pin", "unpin",
        "fix", "deliver", "unfix", "fork.copy",
        "fault.shared", "fault.sigbus", "read", "read.short", "read.efault", "write", "write.efault", "truncate.up",
        "truncate.down", "punch", "unlink", "unlink.enoent", "sync", "sync.enomem",
    }  # fmt: skip


# ------------------------------------------------------------------------------ planted breaks

START = """
p0: map a 4 rw private anon
p0: store a[0] 1
p0: store bss[0] 1
p0: load bss[1]
p0: load data[0]
p0: fork p1
p1: store bss[0] 2
p0: fork p2
p2: exit 0
p0: map b 4 rw shared f
p0: store b[0] 1
p0: map c 2 rw shared anon
p0: store c[0] 1
"""


def entry(machine: Machine, process: int, vpn: int) -> PTE:
    pte = machine.process(process).memory.page_table.lookup(vpn)
    assert pte is not None
    return pte


def _vmas(machine: Machine) -> list[Vma]:
    return machine.process(0).memory.vmas.items


def _shared_frame_is_writable(machine: Machine) -> None:
    entry(machine, 0, WINDOW_BY_NAME["a"].vpn).writable = True


def _shared_frame_may_be_writable(machine: Machine) -> None:
    entry(machine, 0, WINDOW_BY_NAME["a"].vpn).write_pending = True


def _zero_page_is_writable(machine: Machine) -> None:
    entry(machine, 0, BSS + 1).writable = True


def _written_entry_is_optional(machine: Machine) -> None:
    entry(machine, 1, BSS).optional = True


def _empty_vma(machine: Machine) -> None:
    _vmas(machine).insert(0, Vma(0, 0, Prot.R))


def _vmas_overlap(machine: Machine) -> None:
    _vmas(machine)[-1] = replace(_vmas(machine)[-1], start=BSS)


def _offset_is_lost(machine: Machine) -> None:
    _vmas(machine)[1] = replace(_vmas(machine)[1], pgoff=1)


def _vma_is_forgotten(machine: Machine) -> None:
    del _vmas(machine)[2]


def _write_right_outlives_the_vma(machine: Machine) -> None:
    vmas = machine.process(1).memory.vmas.items
    vmas[2] = replace(vmas[2], prot=Prot.R)


def _entry_stays_unreadable(machine: Machine) -> None:
    entry(machine, 0, DATA).readable = False


def _table_is_shared(machine: Machine) -> None:
    theirs, ours = (machine.process(n).memory.page_table for n in (0, 1))
    ours.root.entries = theirs.root.entries


def _table_is_mapped(machine: Machine) -> None:
    space = machine.process(0).memory
    entry(machine, 0, BSS).frame = space.page_table.root.frame


def _table_outlives_its_vmas(machine: Machine) -> None:
    root = machine.process(0).memory.page_table.root
    root.entries[300] = Directory(machine.pool.fresh(FrameKind.TABLE), 3)


def _zero_page_is_written(machine: Machine) -> None:
    machine.zero.write(5, b"\1")


def _cached_page_is_written(machine: Machine) -> None:
    machine.cache.frames["data", 0].write(5, b"\1")


def _private_page_enters_the_cache(machine: Machine) -> None:
    frame = entry(machine, 0, BSS).frame
    frame.content = machine.cache.frames["data", 0].content
    machine.cache.frames["data", 0] = frame


def _shared_page_is_copied(machine: Machine) -> None:
    pte = entry(machine, 0, WINDOW_BY_NAME["b"].vpn)
    pte.frame = machine.pool.fresh(FrameKind.ANON, pte.frame.content)


def _mapping_outlives_a_truncation(machine: Machine) -> None:
    machine.cache.file("f").size = 0


def _shared_memory_outlives_its_mapping(machine: Machine) -> None:
    machine.process(0).memory.vmas.carve(WINDOW_BY_NAME["c"].vpn, WINDOW_BY_NAME["c"].vpn + 2)


def _page_behind_the_end_is_cached(machine: Machine) -> None:
    machine.cache.frame("f", 4)


def _live_frame_is_freed(machine: Machine) -> None:
    machine.pool.give_back(entry(machine, 0, BSS).frame)


def _frame_is_lost(machine: Machine) -> None:
    machine.pool.fresh(FrameKind.ANON)


def _frame_is_at_two_pages(machine: Machine) -> None:
    machine.process(0).memory.page_table.map(BSS + 3, PTE(entry(machine, 0, BSS).frame, True, False))


def _zombie_keeps_its_memory(machine: Machine) -> None:
    machine.processes[1].state = State.REAPED


def _dead_without_status(machine: Machine) -> None:
    machine.processes[2].status = None


def _zombie_of_nobody(machine: Machine) -> None:
    machine.processes[2].parent = None


BREAKS: dict[str, tuple[Callable[[Machine], None], ...]] = {
    "writable_frames_have_one_holder": (_shared_frame_is_writable, _shared_frame_may_be_writable),
    "only_own_frames_are_writable": (_zero_page_is_writable,),
    "optional_entries_can_be_filled_again": (_written_entry_is_optional,),
    "vmas_are_not_empty": (_empty_vma,),
    "vmas_are_sorted_and_disjoint": (_vmas_overlap,),
    "file_vmas_stay_in_their_file": (_offset_is_lost,),
    "present_pages_lie_in_a_vma": (_vma_is_forgotten,),
    "entries_are_not_writable_where_the_vma_is_not": (_write_right_outlives_the_vma,),
    "entries_are_readable_where_the_vma_is": (_entry_stays_unreadable,),
    "table_pages_are_referenced_once": (_table_is_shared,),
    "table_pages_are_tables_only": (_table_is_mapped,),
    "table_pages_cover_a_vma": (_table_outlives_its_vmas,),
    "the_zero_page_is_zero": (_zero_page_is_written,),
    "cached_pages_have_the_file_bytes": (_cached_page_is_written,),
    "cached_pages_lie_in_their_file": (_page_behind_the_end_is_cached,),
    "shared_pages_are_the_page_cache": (_shared_page_is_copied,),
    "nothing_is_mapped_behind_the_end_of_a_file": (_mapping_outlives_a_truncation,),
    "shared_memory_is_mapped": (_shared_memory_outlives_its_mapping,),
    "cached_pages_are_cache_only": (_private_page_enters_the_cache,),
    "held_frames_are_in_use": (_live_frame_is_freed,),
    "frames_in_use_are_held": (_frame_is_lost,),
    "own_frames_have_one_page_in_a_process": (_frame_is_at_two_pages,),
    "only_the_living_have_memory": (_zombie_keeps_its_memory,),
    "the_ended_have_a_status": (_dead_without_status,),
    "zombies_have_a_living_parent": (_zombie_of_nobody,),
}


def planted() -> Iterator[tuple[str, Callable[[Machine], None]]]:
    for name, breaks in BREAKS.items():
        for each in breaks:
            yield name, each


def test_each_invariant_has_a_planted_break() -> None:
    assert set(BREAKS) == {invariant.__name__ for invariant in INVARIANTS}


@pytest.mark.parametrize(("name", "break_it"), list(planted()), ids=lambda each: getattr(each, "__name__", ""))
def test_a_planted_break_is_named(name: str, break_it: Callable[[Machine], None]) -> None:
    machine = Machine(PRESETS["model"])
    for op in parse_program(START).steps:
        step(machine, op)
    assert broken(machine) == []

    break_it(machine)

    assert name in broken(machine)


def test_a_freed_frame_holds_junk() -> None:
    machine = Machine(LINUX_6_1)
    frame = machine.pool.fresh(FrameKind.ANON)

    machine.pool.give_back(frame)

    assert frame.content == JUNK
    with pytest.raises(KeyError):
        machine.pool.give_back(frame)
