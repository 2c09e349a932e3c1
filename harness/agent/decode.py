"""The agent's account of a run, to a `Trace`.

The answer is a list of tagged records in the order in which things happened. Nothing is trusted: the guest may be
broken, so every index is checked and an answer that makes no sense is a ProtocolError.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from harness.agent.codec import FREE_SWAP, PROGRAM, PROMISED, Reader, View, expect, observed_pages
from harness.agent.silent import Silent
from harness.errors import ProtocolError
from harness.guest.vmcoreinfo import IN_SWAP_CACHE
from harness.program.files import FILES
from harness.program.ops import SILENT
from harness.program.outcome import (
    Code,
    Done,
    Exited,
    Failed,
    Faulted,
    Gone,
    Killed,
    Loaded,
    Outcome,
    Printed,
    RanOn,
    Received,
    Signal,
)
from harness.program.program import Program
from harness.program.trace import (
    Accounting,
    Ending,
    FrameFlag,
    FrameSeen,
    Observation,
    PageSeen,
    ProcessSeen,
    RssSeen,
    Runs,
    SizeSeen,
    Trace,
    VmaSeen,
)
from harness.program.units import PAGE_SIZE, Prot, address_of

(
    TAG_END,
    TAG_OUTCOMES,
    TAG_OBSERVATION,
    TAG_OUTPUT,
    TAG_ENDING,
    TAG_LEFTOVER,
    TAG_ACCOUNT,
    TAG_UNREAPED,
    TAG_CONTENT,
    TAG_ACCOUNTS,
    TAG_LATE,
    TAG_SILENT,
) = range(12)
_ENDINGS = {0: Ending.COMPLETE, 1: Ending.LOST, 2: Ending.STUCK, 3: Ending.FORK_FAILED}
_SI_CODES = {1: "exited with status", 2: "was killed by signal", 3: "was killed by signal"}
_PROGRAM_FILES = (None, *FILES)
_ERRNO_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}
"""Of two names for one number Linux's manual uses this one; Python gives the other, ENOTSUP."""
_UNREADABLE = 0xFFFF_FFFF_FFFF_FFFF


def signal(value: int) -> Signal | int:
    """Name a signal where we know it."""
    return Signal(value) if value in Signal._value2member_map_ else value


def _faulted(reader: Reader) -> Faulted:
    number, code, address = reader.number(), reader.number(), reader.number()
    named = Code._value2member_map_.get((signal(number), code), code)
    place = address_of(address // PAGE_SIZE, address % PAGE_SIZE)
    return Faulted(signal(number), named, place, None if place else address)  # type: ignore[arg-type]


_OUTCOMES: tuple[Callable[[Reader], Outcome], ...] = (
    lambda _: Done(),
    lambda reader: Loaded(reader.byte()),
    lambda reader: Printed(reader.number()),
    _faulted,
    lambda reader: Failed(_ERRNO_NAMES.get(number := reader.number(), f"errno {number}")),
    lambda reader: Exited(reader.number()),
    lambda reader: Killed(signal(reader.number())),
    lambda _: Gone(),
    lambda reader: Received(reader.number()),
    lambda _: RanOn(),
)
"""Indexed by the SAW_… tags of `fixtures/agent/agent.h`."""


@dataclass(slots=True)
class _Pages:
    """One process of an observation while its records arrive."""

    frames: list[int]
    """For each page of the windows 0, or 1 + the index of its frame in the observation's table."""
    vmas: tuple[VmaSeen, ...] | None
    contents: dict[int, Runs] = field(default_factory=dict)
    rss: RssSeen | None = None
    size: SizeSeen | None = None
    waiting: Iterator[int] = field(default_factory=lambda: iter(()))
    """The pages whose content is still to come, by index."""


@dataclass(slots=True)
class _Snapshot:
    """One observation while its records arrive."""

    after: int
    shows_presence: bool
    processes: dict[int, _Pages]
    frames: list[int]
    seen: dict[int, FrameSeen]


class TraceDecoder:
    """Turns the answer to one program into its trace."""

    def __init__(self, program: Program, view: View, *, zero_frame: int, counts_faults: bool) -> None:
        self.program = program
        self.view = view
        self.zero_frame = zero_frame
        self.counts_faults = counts_faults
        self.windows = observed_pages(program)
        self.vpns = [vpn for pages in self.windows for vpn in pages.vpns]
        self.outcomes: list[Outcome | None] = []
        self.faults: list[int | None] = []
        self.outputs: dict[int, bytes] = {}
        self.snapshots: list[_Snapshot] = []
        self.leftover: dict[int, FrameSeen] | None = None
        self.accounts: list[Accounting] = []
        self.ending = Ending.COMPLETE
        self.evidence = ""
        self.silent: Silent | None = None
        self.unreaped: int | None = None
        self.is_late = False

    def decode(self, reader: Reader) -> Trace:
        """Read the whole answer. Raises ProtocolError where it makes no sense."""
        expect(reader, PROGRAM)
        readers: dict[int, Callable[[Reader], None]] = {
            TAG_OUTCOMES: self._read_outcomes,
            TAG_OBSERVATION: self._read_observation,
            TAG_OUTPUT: self._read_output,
            TAG_ENDING: self._read_ending,
            TAG_LEFTOVER: self._read_leftover,
            TAG_ACCOUNT: self._read_account,
            TAG_UNREAPED: self._read_unreaped,
            TAG_CONTENT: self._read_content,
            TAG_ACCOUNTS: self._read_accounts,
            TAG_LATE: self._read_late,
            TAG_SILENT: self._read_silent,
        }
        while (tag := reader.byte()) != TAG_END:
            if tag not in readers:
                raise ProtocolError(f"the agent's answer has an unknown record {tag}", evidence=reader.data)
            readers[tag](reader)
        return self._trace()

    def _trace(self) -> Trace:
        before, after = (*self.accounts, None, None)[:2]
        return Trace(
            outcomes=tuple(self.outcomes),
            observations=tuple(self._observation(each) for each in self.snapshots),
            outputs=self.outputs,
            ending=self.ending,
            evidence=self.evidence,
            leftover=self.leftover,
            before=before,
            after=after,
            faults=tuple(self.faults) if self.counts_faults else None,
            unreaped=self.unreaped,
            is_late=self.is_late,
        )

    # ------------------------------------------------------------------ records

    def _read_late(self, _: Reader) -> None:
        self.is_late = True

    def _read_silent(self, reader: Reader) -> None:
        slot = reader.byte()
        texts = [reader.part().data.decode("utf-8", "backslashreplace") for _ in fields(Silent)[1:]]
        self.silent = Silent(f"p{slot}", *texts)
        self.evidence = "\n".join(self.silent.lines())

    def _read_outcomes(self, reader: Reader) -> None:
        count = reader.number()
        part = reader.part()
        for _ in range(count):
            if len(self.outcomes) >= len(self.program.steps):
                raise ProtocolError("the agent reports more steps than the program has")
            if isinstance(self.program.steps[len(self.outcomes)], SILENT):
                self.faults.append(None)
                self.outcomes.append(None)
                continue
            if self.counts_faults:
                counted = part.number()
                self.faults.append(counted - 1 if counted else None)
            tag = part.byte()
            if tag >= len(_OUTCOMES):
                raise ProtocolError(f"the agent reports an unknown outcome {tag}", evidence=part.data)
            self.outcomes.append(_OUTCOMES[tag](part))

    def _read_output(self, reader: Reader) -> None:
        process = reader.byte()
        self.outputs[process] = self.outputs.get(process, b"") + reader.part().data

    def _read_ending(self, reader: Reader) -> None:
        code = reader.byte()
        if code not in _ENDINGS:
            raise ProtocolError("the agent could not read the program that the harness sent")
        self.ending = _ENDINGS[code]
        reader.number()  # steps done: the outcomes say the same
        detail = reader.number()
        if detail:
            self.evidence = f"the process {_SI_CODES.get(detail >> 8, 'ended with')} {detail & 0xFF}"

    def _read_unreaped(self, reader: Reader) -> None:
        self.unreaped = reader.number()

    def _read_account(self, reader: Reader) -> None:
        values = {key: reader.number() - 1 for key in self.view.keys}
        for key in (PROMISED, FREE_SWAP):
            if key in values:
                values[key] //= PAGE_SIZE // 1024
        numbers = [value if value >= 0 else None for value in values.values()]
        self.accounts.append(Accounting(*numbers))

    def _read_leftover(self, reader: Reader) -> None:
        self.leftover = {}
        while reader.byte():
            frame, seen = self._read_frame(reader)
            self.leftover[frame] = seen

    def _read_frame(self, reader: Reader) -> tuple[int, FrameSeen]:
        frame = reader.number()
        values = {name: reader.number() for name in self.view.field_names}
        return frame, frame_seen(values, is_zero=frame == self.zero_frame != 0)

    def _read_observation(self, reader: Reader) -> None:
        after, shows = reader.number(), bool(reader.byte())
        processes = {}
        for _ in range(reader.number()):
            slot = reader.byte()
            frames = [reader.number() for _ in self.vpns]
            pages = _Pages(frames, self._read_vmas(reader))
            pages.waiting = iter([i for i, frame in enumerate(frames) if frame or not shows])
            processes[slot] = pages
        table, seen = [], {}
        for _ in range(reader.number()):
            frame, counts = self._read_frame(reader)
            table.append(frame)
            seen[frame] = counts
        self.snapshots.append(_Snapshot(after, shows, processes, table, seen))

    def _read_vmas(self, reader: Reader) -> tuple[VmaSeen, ...] | None:
        vmas = []
        while (mark := reader.byte()) == 1:
            window, first, npages, bits = reader.byte(), reader.number(), reader.number(), reader.byte()
            pgoff = reader.number()
            if window >= len(self.windows):
                raise ProtocolError(f"the agent reports a VMA in window {window}, which is not observed")
            if first + npages > self.windows[window].npages:
                raise ProtocolError(
                    f"the agent reports a VMA of {npages} pages from {first} on, outside the observed pages"
                )
            vpn = self.windows[window].vpn + first
            file = _PROGRAM_FILES[bits >> 5 & 3]
            vmas.append(VmaSeen(vpn, npages, Prot(bits & 7), bool(bits & 8), pgoff if bits & 16 else None, file))
        return tuple(sorted(vmas, key=lambda vma: vma.vpn)) if mark == 0 else None

    def _read_content(self, reader: Reader) -> None:
        slot, count = reader.byte(), reader.number()
        part = reader.part()
        if not self.snapshots or slot not in self.snapshots[-1].processes:
            raise ProtocolError(f"the agent reports bytes of p{slot}, which it did not observe")
        pages = self.snapshots[-1].processes[slot]
        for _ in range(count):
            index = next(pages.waiting, None)
            runs = tuple((part.byte(), part.number()) for _ in range(part.number()))
            if index is None:
                raise ProtocolError(f"the agent reports bytes of more pages than p{slot} has")
            if runs:
                pages.contents[self.vpns[index]] = runs

    def _read_accounts(self, reader: Reader) -> None:
        slot = reader.byte()
        if not self.snapshots or slot not in self.snapshots[-1].processes:
            raise ProtocolError(f"the agent reports accounts of p{slot}, which it did not observe")
        if reader.byte():
            anonymous, file, shared = (reader.number() * 1024 // PAGE_SIZE for _ in range(3))
            self.snapshots[-1].processes[slot].rss = RssSeen(anonymous, file, shared, reader.number(), reader.number())
        if reader.byte():
            self.snapshots[-1].processes[slot].size = SizeSeen(reader.number(), reader.number())

    # ------------------------------------------------------------------ assembling

    def _observation(self, snapshot: _Snapshot) -> Observation:
        processes = {
            slot: ProcessSeen(self._pages(pages, snapshot), pages.vmas, pages.rss, pages.size)
            for slot, pages in snapshot.processes.items()
        }
        return Observation(snapshot.after, processes, snapshot.seen)

    def _pages(self, pages: _Pages, snapshot: _Snapshot) -> dict[int, PageSeen]:
        seen = {}
        for vpn, index in zip(self.vpns, pages.frames, strict=True):
            if index > len(snapshot.frames):
                raise ProtocolError(f"the agent reports frame number {index} of {len(snapshot.frames)}")
            frame = snapshot.frames[index - 1] if index else None
            present = bool(index) if snapshot.shows_presence else None
            seen[vpn] = PageSeen(present, frame, pages.contents.get(vpn))
        return seen


def frame_seen(values: dict[str, Any], *, is_zero: bool) -> FrameSeen:
    """Turn a frame's raw fields into counts and flags.

    `map_raw` is struct page's _mapcount (one less than the mappers), `mapcount` a count as it is; `lru`,
    `anon`, `head` and `tail` are masked bits of struct page, `kflags` an entry of /proc/kpageflags.
    """
    known = {name: value for name, value in values.items() if value != _UNREADABLE}
    if known.get("head") or known.get("tail"):  # of a page of several frames, whose counts are for all of them
        return FrameSeen()
    mapcount = known.get("mapcount")
    if "map_raw" in known:
        mapcount = (known["map_raw"] + 1) & 0xFFFF_FFFF
    flags: FrameFlag | None = None
    if "kflags" in known:
        flags = FrameFlag(known["kflags"] & sum(FrameFlag))
    elif "lru" in known:
        flags = FrameFlag.LRU if known["lru"] else FrameFlag(0)
        flags |= FrameFlag.ANON if known.get("anon") else FrameFlag(0)
        flags |= FrameFlag.SWAPCACHE if all(known.get(name) for name in IN_SWAP_CACHE) else FrameFlag(0)
    if is_zero:
        flags = (flags or FrameFlag(0)) | FrameFlag.ZERO_PAGE
    return FrameSeen(mapcount, known.get("refcount"), flags)
