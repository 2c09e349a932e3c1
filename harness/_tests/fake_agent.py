"""A twin of the agent in Python, with the toy kernel inside: what it hears and says are the bytes of the real one.

It knows the dialect on its own account, from `fixtures/agent`, so that the codec is not tested against itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from harness.agent.codec import Reader, observed_pages
from harness.errors import GuestTrouble
from harness.model_guest import ModelGuest
from harness.program.files import BACKINGS, FILES
from harness.program.image import IMAGES
from harness.program.ops import (
    ANSWERS,
    FORKS,
    OPS,
    Access,
    Advice,
    Advise,
    Ask,
    Backing,
    Brk,
    Copyrange,
    Crash,
    Crowd,
    Deliver,
    Exec,
    Exit,
    Feed,
    Fill,
    Fix,
    Force,
    Handle,
    Handover,
    Kill,
    Leader,
    Limit,
    Load,
    Map,
    Mirror,
    Misuse,
    Op,
    Opened,
    Peek,
    Pin,
    Placement,
    Poke,
    Populate,
    Print,
    Protect,
    Punch,
    Query,
    Read,
    Readv,
    Reap,
    Receive,
    Remap,
    Repeat,
    Roam,
    Scratch,
    Sendfile,
    Sharing,
    Splice,
    Starve,
    Store,
    Sync,
    Threads,
    Throng,
    Truncate,
    Try,
    Unlink,
    Unmap,
    Via,
    Wait,
    Write,
)
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
    ProcessSeen,
    RssSeen,
    Trace,
    VmaSeen,
)
from harness.program.units import PAGE_SIZE, Address, PageRange, Prot, address_of
from harness.subject import How

ALL_ONES = (1 << 64) - 1
ERRNO = {
    "ENOENT": 2, "ESRCH": 3, "EIO": 5, "ENXIO": 6, "ENOEXEC": 8, "EBADF": 9, "ECHILD": 10,
    "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13,
    "EFAULT": 14, "EBUSY": 16, "EEXIST": 17,
    "EINVAL": 22, "ERANGE": 34, "ENOSYS": 38, "EOPNOTSUPP": 95,
}  # fmt: skip
_FILE_BITS = {None: 0, "f": 1 << 5, "g": 2 << 5, "m": 3 << 5}
ENDINGS = {Ending.COMPLETE: 0, Ending.LOST: 1, Ending.STUCK: 2, Ending.FORK_FAILED: 3}

# ---------------------------------------------------------------------------------- bytes


def leb(value: int) -> bytes:
    """LEB128, as bytes.c writes it."""
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])


def counted(data: bytes) -> bytes:
    return leb(len(data)) + data


def text(reader: Reader) -> str:
    return reader.part().data.decode()


# ---------------------------------------------------------------------------------- requests


def read_program(reader: Reader) -> tuple[int, list[PageRange], Program]:
    """Read what follows the command byte: flags, the observed pages, the program."""
    flags = reader.number()
    pages = [_window(reader.number(), reader.number()) for _ in range(reader.number())]
    steps = tuple(_read_op(reader, pages) for _ in range(reader.number()))
    program = Program(steps)
    descriptors = {*program.opened, *((name, Opened.BOTH) for name in program.files)}
    bits = {(name, mode): 1 << 3 * j + i for j, mode in enumerate(Opened) for i, name in enumerate(FILES)}
    assert flags >> 9 == sum(bits[each] for each in descriptors), "the files that are to be open"
    return flags & 511, pages, program


def _window(vpn: int, npages: int) -> PageRange:
    first = address_of(vpn)
    assert first is not None
    return PageRange(first.window, first.index, npages)


def _read_op(reader: Reader, pages: list[PageRange]) -> Op:
    code, process = reader.byte(), reader.byte()
    kind = next(op for op in OPS if op.code == code)
    part = Reader(reader.bytes(reader.byte()))

    def place() -> Address:
        window = pages[part.byte()]
        return Address(window.window, window.first + part.number(), part.number())

    def span() -> PageRange:
        window = pages[part.byte()]
        first, length = window.first + part.number(), part.number()
        npages = max(1, -(-length // PAGE_SIZE))
        return PageRange(window.window, first, npages, npages * PAGE_SIZE - length)

    op: Op
    if kind in (Map, Mirror):
        where, prot, sharing = span(), Prot(part.byte()), [*Sharing][part.byte()]
        name, opened = BACKINGS[part.byte()], [*Opened][part.byte()]
        backing = Backing(name, part.number(), opened)
        op = kind(process, where, prot, sharing, backing, [*Placement][part.byte()], [*Populate][part.byte()])
    elif kind is Unmap:
        op = Unmap(process, span())
    elif kind is Protect:
        op = Protect(process, span(), Prot(part.byte()))
    elif kind in (Remap, Roam):
        op = kind(process, span(), span())
    elif kind is Advise:
        op = Advise(process, span(), [*Advice][part.byte()])
    elif kind is Throng:
        op = Throng(process, part.number(), span())
    elif kind is Handover:
        op = Handover(process, [*Leader][part.byte()])
    elif kind is Threads:
        op = Threads(process, part.number())
    elif kind is Kill:
        op = Kill(process, part.byte())
    elif kind is Exec:
        op = Exec(process, [*IMAGES][part.byte()])
    elif kind is Brk:
        op = Brk(process, place())
    elif kind is Scratch:
        op = Scratch(process, part.byte())
    elif kind is Try:
        op = Try(process, [*Misuse][part.byte()], span())
    elif kind is Load:
        op = Load(process, place())
    elif kind in (Store, Fill):
        op = kind(process, place(), part.byte())
    elif kind is Print:
        op = Print(process, place(), part.number())
    elif kind is Receive:
        op = Receive(process, [*Via][part.byte()], place(), part.number(), part.byte())
    elif kind is Ask:
        op = Ask(process, [*Query][part.byte()], place())
    elif kind is Reap:
        op = Reap(process, part.byte(), place())
    elif kind is Force:
        op = Force(process, place(), part.byte(), part.number())
    elif kind is Poke:
        op = Poke(process, part.byte(), place(), part.byte(), part.number())
    elif kind is Deliver:
        op = Deliver(process, place(), part.byte())
    elif kind is Peek:
        op = Peek(process, place(), part.number())
    elif kind in (Pin, Fix, Handle):
        op = kind(process, place())
    elif kind is Repeat:
        op = Repeat(process, part.number(), part.number())
    elif kind in (Crowd, Starve, Limit):
        op = kind(process, part.number())
    elif kind in (*FORKS, Wait, Exit, Feed):
        op = kind(process, part.byte())
    elif kind in (Read, Write):
        op = kind(process, BACKINGS[part.byte()], part.number(), place(), part.number())
    elif kind is Readv:
        op = Readv(process, BACKINGS[part.byte()], part.number(), place(), place(), part.number())
    elif kind in (Sendfile, Copyrange):
        source, offset = BACKINGS[part.byte()], part.number()
        op = kind(process, source, offset, BACKINGS[part.byte()], part.number(), part.number())
    elif kind in (Truncate, Splice):
        op = kind(process, BACKINGS[part.byte()], part.number())
    elif kind is Punch:
        op = Punch(process, BACKINGS[part.byte()], part.number(), part.number())
    elif kind is Unlink:
        op = Unlink(process, BACKINGS[part.byte()])
    elif kind is Sync:
        op = Sync(process, span())
    elif kind is Crash:
        op = Crash(process, [*Access][part.byte()], place())
    else:
        op = kind(process)
    assert part.exhausted, f"{kind.verb} has more operands than the agent reads"
    return op


# ---------------------------------------------------------------------------------- answers


@dataclass(slots=True)
class Shown:
    """What the host configured: presence, VMAs, and for each field of a frame what it means."""

    pagemap: bool = True
    maps: bool = True
    fields: list[str] = field(default_factory=list)
    keys: int = 4
    sizes: bool = False


@dataclass(slots=True)
class Account:
    """Writes the answer to one program, record by record."""

    program: Program
    trace: Trace
    shown: Shown
    pages: list[PageRange]

    @property
    def vpns(self) -> list[int]:
        return [vpn for pages in self.pages for vpn in pages.vpns]

    def whole(self) -> bytes:
        """The whole answer, with the command byte in front."""
        trace = self.trace
        waiting = list(trace.observations)
        out = [b"\x02", self.accounting(trace.before)]
        for number in range(len(trace.outcomes)):
            out.append(self.outcome(number))
            while waiting and waiting[0].after == number + 1 and number + 1 < len(self.program):
                out.append(self.observation(waiting.pop(0)))
        out += [self.observation(each) for each in waiting]
        out += [self.output(process, data) for process, data in trace.outputs.items() if data]
        out += [self.leftover(), self.accounting(trace.after), b"\x07" + leb(trace.unreaped or 0)]
        out.append(b"\x04" + bytes([ENDINGS[trace.ending]]) + leb(len(trace.outcomes)) + leb(0) + b"\0")
        return b"".join(out)

    def accounting(self, counts: Accounting | None) -> bytes:
        if counts is None:
            return b""
        in_kib = None if counts.promised is None else counts.promised * PAGE_SIZE // 1024
        numbers = [counts.free, counts.page_tables, counts.anonymous, in_kib][: self.shown.keys]
        return b"\x06" + b"".join(leb(0 if each is None else each + 1) for each in numbers)

    def outcome(self, number: int) -> bytes:
        outcome = self.trace.outcomes[number]
        if outcome is None:
            return b"\x01" + leb(1) + counted(b"")
        said = saw(outcome)
        if self.trace.faults is not None:
            faults = self.trace.faults[number]
            said = leb(0 if faults is None else 1 + faults) + said
        return b"\x01" + leb(1) + counted(said)

    def observation(self, seen: Observation) -> bytes:
        table: list[int] = []
        processes = b"".join(self._process(slot, each, table) for slot, each in sorted(seen.processes.items()))
        head = b"\x02" + leb(seen.after) + bytes([self.shown.pagemap]) + leb(len(seen.processes))
        frames = b"".join(self.frame(pfn, seen.frames[pfn]) for pfn in table)
        contents = b"".join(self._content(slot, each) for slot, each in sorted(seen.processes.items()))
        accounts = b"".join(self._accounts(slot, each) for slot, each in sorted(seen.processes.items()) if each.rss)
        return head + processes + leb(len(table)) + frames + contents + accounts

    def _accounts(self, slot: int, seen: ProcessSeen) -> bytes:
        shows_resident = seen.rss is not None and self.shown.pagemap and self.shown.maps
        resident = _resident(seen.rss) if seen.rss is not None and shows_resident else b"\0"
        shows_size = seen.size is not None and self.shown.sizes
        size = b"\x01" + leb(seen.size.counted) + leb(seen.size.mapped) if seen.size is not None and shows_size else b"\0"
        return bytes([9, slot]) + resident + size

    def _process(self, slot: int, seen: ProcessSeen, table: list[int]) -> bytes:
        out = bytes([slot])
        for vpn in self.vpns:
            frame = seen.pages[vpn].frame
            if frame is None or not self.shown.pagemap:
                out += b"\0"
                continue
            if frame not in table:
                table.append(frame)
            out += leb(1 + table.index(frame))
        return out + (self._vmas(seen.vmas or ()) if self.shown.maps else b"\x02")

    def _vmas(self, vmas: tuple[VmaSeen, ...]) -> bytes:
        out = b""
        for slot, pages in enumerate(self.pages):
            for vma in vmas:
                cut = clip_vma(vma, pages)
                if cut is not None:
                    bits = int(cut.prot) | cut.shared << 3 | (cut.pgoff is not None) << 4 | _FILE_BITS[cut.file]
                    where = leb(cut.vpn - pages.vpn) + leb(cut.npages)
                    out += bytes([1, slot]) + where + bytes([bits]) + leb(cut.pgoff or 0)
        return out + b"\0"

    def _content(self, slot: int, seen: ProcessSeen) -> bytes:
        """As the agent does: of the present pages (or of all), in pieces of at most 32."""
        wanted = [vpn for vpn in self.vpns if seen.pages[vpn].present or not self.shown.pagemap]
        pieces = [wanted[at : at + 32] for at in range(0, len(wanted), 32)]
        out = b""
        for piece in pieces:
            said = b"".join(_runs(seen.pages[vpn].content or ()) for vpn in piece)
            out += bytes([8, slot]) + leb(len(piece)) + counted(said)
        return out

    def output(self, process: int, data: bytes) -> bytes:
        return bytes([3, process]) + counted(data)

    def leftover(self) -> bytes:
        lost = (self.trace.leftover or {}).items()
        return b"\x05" + b"".join(b"\x01" + self.frame(pfn, seen) for pfn, seen in lost) + b"\0"

    def frame(self, pfn: int, seen: FrameSeen) -> bytes:
        flags = seen.flags or FrameFlag(0)
        values: dict[str, int | None] = {
            "mapcount": seen.mapcount,
            "kflags": seen.flags,
            "refcount": seen.refcount,
            "map_raw": None if seen.mapcount is None else (seen.mapcount - 1) & 0xFFFF_FFFF,
            "lru": flags & FrameFlag.LRU,
            "anon": int(bool(flags & FrameFlag.ANON)),
        }
        fields = [values[name] for name in self.shown.fields]
        return leb(pfn) + b"".join(leb(ALL_ONES if each is None else int(each)) for each in fields)


def _resident(rss: RssSeen) -> bytes:
    counted = b"".join(leb(pages * 4) for pages in (rss.anonymous, rss.file, rss.shared))
    return b"\x01" + counted + leb(rss.anonymous_outside) + leb(rss.other_outside)


def _runs(runs: tuple[tuple[int, int], ...]) -> bytes:
    return leb(len(runs)) + b"".join(bytes([value]) + leb(length) for value, length in runs)


def saw(outcome: Outcome) -> bytes:
    """One outcome, with its SAW_ tag."""
    match outcome:
        case Done():
            return b"\0"
        case Loaded(value):
            return bytes([1, value])
        case Printed(length):
            return b"\x02" + leb(length)
        case Faulted(signal, code, at, raw):
            where = at.vpn * PAGE_SIZE + at.offset if at else raw or 0
            number = code.value[1] if isinstance(code, Code) else code
            return b"\x03" + leb(_number(signal)) + leb(number) + leb(where)
        case Failed(errno):
            return b"\x04" + leb(ERRNO[errno])
        case Exited(status):
            return b"\x05" + leb(status)
        case Killed(signal):
            return b"\x06" + leb(_number(signal))
        case Gone():
            return b"\x07"
        case RanOn():
            return b"\x09"
        case Received(length):
            return b"\x08" + leb(length)
        case _:
            raise AssertionError(f"the agent never says {outcome}")


def _number(signal: Signal | int) -> int:
    return signal.value if isinstance(signal, Signal) else signal


# ---------------------------------------------------------------------------------- clipping


def clip_vma(vma: VmaSeen, pages: PageRange) -> VmaSeen | None:
    """The part of `vma` that lies in `pages`."""
    first, end = max(vma.vpn, pages.vpn), min(vma.vpn + vma.npages, pages.vpns.stop)
    if first >= end:
        return None
    pgoff = None if vma.pgoff is None else vma.pgoff + first - vma.vpn
    return replace(vma, vpn=first, npages=end - first, pgoff=pgoff)


def clipped(program: Program, trace: Trace) -> Trace:
    """What is left of the toy kernel's trace when only the pages that the program names are observed."""
    observations = tuple(_clip(each, observed_pages(program)) for each in trace.observations)
    return replace(trace, observations=observations, outputs={k: v for k, v in trace.outputs.items() if v})


def _clip(seen: Observation, pages: tuple[PageRange, ...]) -> Observation:
    vpns = {vpn for each in pages for vpn in each.vpns}
    processes = {}
    for number, process in seen.processes.items():
        vmas = sorted(cut for vma in process.vmas or () for each in pages if (cut := clip_vma(vma, each)))
        kept = {vpn: page for vpn, page in process.pages.items() if vpn in vpns}
        processes[number] = ProcessSeen(kept, tuple(vmas))
    used = {page.frame for process in processes.values() for page in process.pages.values()}
    return Observation(seen.after, processes, {pfn: each for pfn, each in seen.frames.items() if pfn in used})


# ---------------------------------------------------------------------------------- the twin

STRUCT_PAGE = {52: "refcount", 48: "map_raw", 0: "lru", 24: "anon"}


@dataclass
class FakeAgent:
    """The twin as a `Link`. `files` are what its guest publishes; a write to a path that is not there fails.

    `trouble` is raised by the next program.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    guest: ModelGuest = field(default_factory=ModelGuest)
    trouble: GuestTrouble | None = None
    last_step: int | None = None
    starved_s: float = 0.0
    written: dict[str, bytes] = field(default_factory=dict)
    configured: int = 0
    programs: list[Program] = field(default_factory=list)
    shown: Shown = field(default_factory=Shown)

    @property
    def zero_frame(self) -> int:
        """The zero page's frame: a load of fresh memory shows it."""
        trace = self.guest.execute(Program((Map(0, PageRange("a", 0, 1), Prot.R), Load(0, Address("a", 0)))), How())
        return next(iter(trace.observations[0].frames))

    def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        """Answer one request, command by command."""
        reader = Reader(payload)
        return b"".join(self._commands(reader))

    def _commands(self, reader: Reader) -> Iterator[bytes]:
        while not reader.exhausted:
            command = reader.byte()
            if command == 2:
                yield self._run(reader)
                continue
            does = {0: self._ping, 1: self._configure, 3: self._read, 4: self._write, 9: self._uname}[command]
            yield bytes([command]) + does(reader)

    def _ping(self, _: Reader) -> bytes:
        return b"pagepact 1 twin\n"

    def _uname(self, _: Reader) -> bytes:
        return leb(0) + ANSWERS[Query.UNAME]

    def _read(self, reader: Reader) -> bytes:
        path, offset, length = text(reader), reader.number(), reader.number()
        if path not in self.files:
            return leb(2) + leb(0)
        data = self.files[path][offset : offset + length]
        chunks = [data[at : at + 2048] for at in range(0, len(data), 2048)]
        return leb(0) + b"".join(map(counted, chunks)) + leb(0)

    def _write(self, reader: Reader) -> bytes:
        path, data = text(reader), reader.part().data
        if path not in self.files:
            return leb(2)
        self.written[path] = data
        return leb(0)

    def _configure(self, reader: Reader) -> bytes:
        self.configured += 1
        pagemap, maps, sizes, _drain = (reader.byte() for _ in range(4))
        _quiescence = [reader.number() for _ in range(3)]
        errors, fields = [], []
        for _ in range(reader.number()):
            path = text(reader)
            reader.number(), reader.number(), reader.number()
            offsets = [(reader.number(), reader.number(), reader.number())[0] for _ in range(reader.number())]
            errors.append(0 if path in self.files else 2)
            fields += [_meaning(path, offset) for offset in offsets]
        reader.number()
        accounting, _promises, _refresh, _free_lists = (text(reader) for _ in range(4))
        keys = [text(reader) for _ in range(reader.number())]
        self.shown = Shown(bool(pagemap), bool(maps), fields, len(keys), bool(sizes))
        readable = accounting in self.files
        return b"".join(map(leb, errors)) + leb(0 if readable else 2) + leb(self.zero_frame)

    def _run(self, reader: Reader) -> bytes:
        flags, pages, program = read_program(reader)
        if self.trouble is not None:
            raise self.trouble
        self.programs.append(program)
        how = How(dense=bool(flags & 1), count_faults=bool(flags & 2), accounting=bool(flags & 4))
        return Account(program, self.guest.execute(program, how), self.shown, pages).whole()


def _meaning(path: str, offset: int) -> str:
    names = {"/proc/kpagecount": "mapcount", "/proc/kpageflags": "kflags"}
    return names[path] if path in names else STRUCT_PAGE[offset]


# ---------------------------------------------------------------------------------- /proc/kcore

VMCOREINFO = """\
OSRELEASE=6.1.0
SIZE(page)=64
OFFSET(page.flags)=0
OFFSET(page._refcount)=52
OFFSET(page.lru)=8
OFFSET(page._mapcount)=48
NUMBER(PG_lru)=5
"""
VMEMMAP = 0xFFFF_EA00_0000_0000


def kcore(info: str | None = VMCOREINFO, *, vmemmap: int = VMEMMAP, file_offset: int = 0x7000) -> bytes:
    """The head of a /proc/kcore: a note VMCOREINFO (None: another note), and vmemmap at `file_offset`."""
    name, data = ("VMCOREINFO", info) if info is not None else ("CORE", "")
    note = _note(name, data.encode())
    headers = 64 + 2 * 56
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 0, headers, 0, 0, len(note), 0, 0)
    memory = struct.pack("<IIQQQQQQ", 1, 7, file_offset, vmemmap, 0, 1 << 40, 1 << 40, 4096)
    return head + notes + memory + note


def _note(name: str, data: bytes) -> bytes:
    padded = [each + bytes(-len(each) % 4) for each in (name.encode() + b"\0", data)]
    return struct.pack("<III", len(name) + 1, len(data), 0) + b"".join(padded)


LINUX = {
    "/proc/version": b"Linux version 6.1.0 (twin)\n",
    "/proc/self/pagemap": bytes(8),
    "/proc/self/maps": b"00400000-00401000 r-xp 00000000 00:00 1 /init\n",
    "/proc/self/statm": b"1 1 1 1 0 0 0\n",
    "/proc/self/status": b"Name:\tinit\nRssAnon:\t      40 kB\nRssFile:\t       0 kB\nRssShmem:\t      44 kB\n",
    "/proc/kcore": kcore(),
    "/proc/kpagecount": bytes(8),
    "/proc/kpageflags": bytes(8),
    "/proc/vmstat": b"nr_free_pages 7\n",
    "/sys/kernel/debug/fault_around_bytes": b"65536\n",
    "/proc/sys/kernel/printk": b"7\n",
}
"""What an ordinary Linux publishes, as far as the client looks."""


def without(*paths: str) -> dict[str, bytes]:
    """The files of a Linux that lacks these."""
    return {path: data for path, data in LINUX.items() if path not in paths}
