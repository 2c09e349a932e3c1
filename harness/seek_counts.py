"""Finds where a kernel that publishes no counts keeps them, and says what its definition has to say for that.

The search itself is in `harness.introspect.count_search`. Here are the programs that move counts, and what is done with an
array that was found. Nothing is believed for good: who runs contracts with the lines that come of it has them tried at each
boot, as any other (`Outside`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from harness.errors import DefinitionError
from harness.guest.definition_values import KernelCounts
from harness.guest.mailbox import Notice
from harness.guest.ram import PAGE_SIZE
from harness.guest.session import Session
from harness.introspect.count_search import Diary, Found, definitions_of, find_arrays, width_of
from harness.introspect.counts import SymbolCounts
from harness.introspect.kernel_memory import KernelMemory
from harness.introspect.page_walk import ENTRIES, frame_of
from harness.introspect.symbols import read_kernel_file
from harness.introspect.view import Look, Observer
from harness.program.ops import Store
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, Frame, Trace
from harness.program.units import Address
from harness.subject import How

_PAGES = 4
_STORES = "".join(f"p0: store a[{page}] {page + 1}\n" for page in range(_PAGES))
HOLDERS_COME_AND_GO = parse_program(
    f"p0: map a {_PAGES} rw private anon\n{_STORES}"
    "p0: fork p1\np0: fork p2\np1: store a[1] 9\np2: unmap a[2]\np1: unmap a[3]\n"
)
"""Four pages, each with holders of its own: nobody else's number follows all of them. Nobody ends, for some kernels are
late with what is to be done then."""
PINNED = parse_program("p0: map a 1 rw private anon\np0: store a[0] 1\np0: pin a[0]\n")
"""A page that one process maps, and that a pipe holds too: it has one entry, and two references."""

Execute = Callable[[Program, How], Trace]
_DENSE = How(dense=True, pte_bits=True, outside=True)


def suggest_counts(session: Session, observer: Observer, execute: Execute, *, can_pin: bool) -> list[str]:
    """Search the memory of the guest, and return a sentence and what to put into its definition, line by line.

    `can_pin` says whether the guest can keep a page in a pipe.
    """
    diary = Diary()
    looks = _watch(session, observer, execute, HOLDERS_COME_AND_GO, diary)
    frames = _frames(looks, _PAGES)
    arrays = find_arrays(diary, {frame: [look.mapcounts([frame])[frame] for look in looks] for frame in frames})
    if not arrays:
        return ["no array that counts the holders of frames rightly was found in its memory"]
    pinned = _pinned(session, observer, execute) if can_pin else None
    holds = [_holds(found, pinned, observer) for found in arrays]
    best = holds.index("references") if "references" in holds else 0
    return _told(arrays[best], holds[best], session, observer, frames)


def _watch(session: Session, observer: Observer, execute: Execute, program: Program, diary: Diary) -> list[Look]:
    """Run `program`; give the looks from the last store on, at each of which the diary noted the memory."""
    first = 1 + max(number for number, op in enumerate(program.steps) if isinstance(op, Store) and op.process == 0)

    def look(notice: Notice) -> bool:
        before = len(observer.looks)
        differs = observer.look(notice)
        if len(observer.looks) > before and observer.looks[-1].after >= first:
            diary.note(observer.ram)
            if not notice.stands():
                observer.looks.pop()  # the memory was not noted at the moment of the look
        return differs

    session.on_notice = look
    try:
        trace = execute(program, _DENSE)
    finally:
        session.on_notice = observer.look
    looks = [each for each in observer.looks if each.after >= first]
    is_whole = trace.ending is Ending.COMPLETE and len(looks) == len(diary) and all(each.is_whole for each in looks)
    return looks if is_whole else []


def _frames(looks: Sequence[Look], count: int) -> list[Frame]:
    """Return the frames of the first process's first pages of `a`, where all of them have one of their own."""
    if not looks or 0 not in looks[0].spaces:
        return []
    vpns = [Address("a", page).vpn for page in range(count)]
    leaves = [(vpn, looks[0].spaces[0].leaf(vpn)) for vpn in vpns]
    frames = {frame_of(leaf, vpn) for vpn, leaf in leaves if leaf is not None and leaf.npages == 1}
    return sorted(frames) if len(frames) == count else []


def _pinned(session: Session, observer: Observer, execute: Execute) -> tuple[Diary, Frame] | None:
    """Have a page pinned; give the memory before and after it, and its frame."""
    diary = Diary()
    frames = _frames(_watch(session, observer, execute, PINNED, diary), 1)
    return (diary, frames[0]) if frames and len(diary) > 1 else None


def _holds(found: Found, pinned: tuple[Diary, Frame] | None, observer: Observer) -> str:
    """Tell whether all references are counted, or entries alone; empty where it is not known."""
    if pinned is None:
        return ""
    diary, frame = pinned
    page, within = divmod(found.place(frame), PAGE_SIZE)
    if not 0 <= page < observer.ram.size // PAGE_SIZE:
        return ""
    before, after = diary.at(page, 0), diary.at(page, 1)
    return {1: "references", 0: "entries"}.get(after[within] - before[within], "")


def _told(found: Found, holds: str, session: Session, observer: Observer, frames: Sequence[Frame]) -> list[str]:
    place = found.place(frames[0]) + observer.ram.start
    where = f"one every {found.stride} bytes, that of frame {frames[0]} at physical {place:#x}"
    lies = f"what counts the holders of frames lies in its memory, {where}"
    try:
        counts = _definition(found, session, observer, frames)
    except DefinitionError as error:
        return [f"{lies}; but {error}"]
    if counts is None:
        return [f"{lies}; no symbol of the kernel leads there"]
    lines = [f"{lies}; in a definition this reads it:", *_toml(replace(counts, holds=holds or counts.holds))]
    return lines if holds else [*lines, '# holds = "entries", where it counts page-table entries and no other holders']


def _definition(found: Found, session: Session, observer: Observer, frames: Sequence[Frame]) -> KernelCounts | None:
    """Find the plainest words of a definition with which the counts are read where they were found."""
    assert session.kernel is not None
    file = read_kernel_file(session.kernel)
    root = next(iter(observer.looks[-1].roots.values())) if observer.form.user_entries < ENTRIES else None
    memory = KernelMemory(observer.ram, observer.form, root, file.segments)
    width = width_of(found, observer.ram, frames)
    for counts in definitions_of(found, observer.ram, file, memory, width=width):
        try:
            reader = SymbolCounts(counts, file, replace(memory, direct_map=counts.direct_map))
        except DefinitionError:
            continue  # this name is of several objects, or of one that is too small
        if all(reader.place(frame) == found.place(frame) for frame in frames):
            return counts
    return None


def _toml(counts: KernelCounts) -> list[str]:
    """Write the table; what goes without saying is left out."""
    plain, lines = KernelCounts("symbol"), ["[counts]"]
    for key in (field.name for field in fields(KernelCounts)):
        value = getattr(counts, key)
        if value != getattr(plain, key) or key == "element":
            written = f"'{value}'" if isinstance(value, str) else "true" if value is True else str(value)
            lines.append(f"{key} = {hex(value) if key == 'direct_map' else written}")
    return lines
