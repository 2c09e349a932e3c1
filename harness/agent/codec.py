"""The binary dialect: programs and settings to bytes, bytes to traces.

Numbers are LEB128, texts and byte strings are counted. The C side is `fixtures/agent`: requests are parsed in
`coordinator.c`, `program.c` and `view.c`, operands in `ops.c` and `*_ops.c`; the tags below are enums of
`coordinator.h` and `agent.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import ProtocolError
from harness.program.files import BACKINGS, FILES
from harness.program.image import IMAGES
from harness.program.ops import (
    ANSWERS,
    Access,
    Advice,
    Backing,
    Brk,
    Kind,
    Leader,
    Misuse,
    Op,
    Opened,
    Placement,
    Populate,
    Query,
    Sharing,
    Via,
)
from harness.program.program import Program, brought, places
from harness.program.text import OPERAND_KINDS
from harness.program.units import WINDOW_BY_NAME, Address, PageRange, Prot, Window

PING, CONFIGURE, PROGRAM, READ_FILE, WRITE_FILE = range(5)
UNAME = 9
PROMISED = "Committed_AS"
FREE_SWAP = "SwapFree"
"""A key whose value is in KiB: what Linux may still have to find memory for, by what is mapped (proc_meminfo(5))."""
DENSE, FAULTS, ACCOUNT, STREAM, BY_HOST, PATIENT, OUTSIDE, HASTY, UNHURRIED = (1 << bit for bit in range(9))
_USES_FILE = {
    (name, opened): 2 * UNHURRIED << len(FILES) * mode + i
    for mode, opened in enumerate(Opened)
    for i, name in enumerate(FILES)
}
"""The flags of a program that say which files are to be there, and how they are to be open."""


def number(value: int) -> bytes:
    """Encode an unsigned number as LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def counted(data: bytes) -> bytes:
    """Encode a byte string behind its length."""
    return number(len(data)) + data


class Reader:
    """Reads what the agent wrote. Raises ProtocolError at the end of the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def exhausted(self) -> bool:
        """Tell whether everything was read."""
        return self.position >= len(self.data)

    def byte(self) -> int:
        """Read one byte."""
        if self.exhausted:
            raise ProtocolError("the agent's answer ends in the middle", evidence=self.data[-60:])
        self.position += 1
        return self.data[self.position - 1]

    def number(self) -> int:
        """Read one LEB128 number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def bytes(self, length: int) -> bytes:
        """Read `length` bytes."""
        if length > len(self.data) - self.position:
            raise ProtocolError("the agent's answer ends in the middle", evidence=self.data[-60:])
        self.position += length
        return self.data[self.position - length : self.position]

    def part(self) -> Reader:
        """Read a counted byte string, as a reader of its own."""
        return Reader(self.bytes(self.number()))


# ---------------------------------------------------------------------------------- programs

Slices = Mapping[str, tuple[int, int]]
"""For each window that a program uses: the number on the wire of the first range of it that is observed, and where in the
window that begins.
"""

_INDEX = {
    kind: {member: i for i, member in enumerate(kind)}
    for kind in (Sharing, Opened, Placement, Populate, Access, Via, Query, Advice, Misuse, Leader)
}


def _choice(value: Any, _: Slices) -> bytes:
    return bytes([_INDEX[type(value)][value]])


def _one(value: Any, _: Slices) -> bytes:
    return bytes([int(value)])


def _address(value: Any, slices: Slices) -> bytes:
    slot, first = slices[value.window]
    return bytes([slot]) + number(value.index - first) + number(value.offset)


def _range(value: Any, slices: Slices) -> bytes:
    slot, first = slices[value.window]
    return bytes([slot]) + number(value.first - first) + number(value.length)


def _backing(value: Any, _: Slices) -> bytes:
    return bytes([BACKINGS.index(value.name), _INDEX[Opened][value.opened]]) + number(value.pgoff)


_ENCODERS: dict[Any, Callable[[Any, Slices], bytes]] = {
    Kind.PROCESS: _one,
    Kind.CHILD: _one,
    Kind.BYTE: _one,
    Kind.NPAGES: _one,
    Kind.STATUS: _one,
    Kind.LENGTH: lambda value, _: number(value),
    Kind.CROWD: lambda value, _: number(value),
    Kind.THREADS: lambda value, _: number(value),
    Kind.FRAMES: lambda value, _: number(value),
    Kind.ROUNDS: lambda value, _: number(value),
    Kind.BODY: lambda value, _: number(value),
    Kind.COUNT: lambda value, _: number(value),
    Kind.FILE: lambda value, _: bytes([BACKINGS.index(value)]),
    Kind.IMAGE: lambda value, _: bytes([IMAGES[value].number]),
    Kind.FILE_OFFSET: lambda value, _: number(value),
    Address: _address,
    PageRange: _range,
    Prot: _one,
    Sharing: _choice,
    Backing: _backing,
    Placement: _choice,
    Populate: _choice,
    Access: _choice,
    Via: _choice,
    Query: _choice,
    Advice: _choice,
    Misuse: _choice,
    Leader: _choice,
}
"""How each kind of operand travels; the keys are those of `harness.program.text.OPERANDS`."""


def _encode_op(op: Op, slices: Slices) -> bytes:
    operands = b"".join(_ENCODERS[kind](getattr(op, name), slices) for name, kind in OPERAND_KINDS[type(op)])
    return bytes([op.code, op.process, len(operands)]) + operands


def observed_pages(program: Program) -> tuple[PageRange, ...]:
    """List what is observed, in the order in which the agent numbers it: of each window that the program uses, the pages
    from the first to the last that it names, of the heap all up to the break, and where the program runs another image all
    that is of one. (All of each window would double the answer with pages nobody touches.) The first range of each window
    comes first, since operands are counted from there.
    """
    named: dict[str, list[int]] = {name: [] for name in program.windows}
    for op in program.steps:
        for place in (*places(op), *brought(op)):
            first, npages = (place.first, place.npages) if isinstance(place, PageRange) else (place.index, 1)
            named[place.window] += [first, first + npages - 1]
        if isinstance(op, Brk):
            named[op.at.window].append(0)  # of data too, which does no harm
    runs = [_runs(WINDOW_BY_NAME[name], pages) for name, pages in named.items()]
    return (*(first for first, *_ in runs), *(run for _, *more in runs for run in more))


def _runs(window: Window, named: list[int]) -> list[PageRange]:
    """Give what is observed of one window: of a wide one the watched pages from its first on, in several ranges."""
    if window.watched:
        return list(window.runs(max(named) + 1))
    return [PageRange(window.name, min(named), max(named) - min(named) + 1)]


def encode_program(program: Program, *, flags: int) -> bytes:
    """Encode the command that runs `program`; `flags` is a sum of DENSE, FAULTS, … OUTSIDE."""
    pages = observed_pages(program)
    slices = {each.window: (i, each.first) for i, each in reversed(list(enumerate(pages)))}
    table = b"".join(number(each.vpn) + number(each.npages) for each in pages)
    steps = b"".join(_encode_op(op, slices) for op in program.steps)
    flags |= sum(_USES_FILE[each] for each in {*program.opened, *((name, Opened.BOTH) for name in program.files)})
    head = bytes([PROGRAM]) + number(flags) + number(len(pages))
    return head + table + number(len(program.steps)) + steps


# ---------------------------------------------------------------------------------- settings


@dataclass(frozen=True, slots=True)
class Field:
    """One number in a frame's record: `width` bytes at byte `offset`, little-endian, masked."""

    name: str
    offset: int
    width: int
    mask: int = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the guest with one record per frame: `length` bytes at `base` + PFN × `stride`."""

    path: str
    base: int
    stride: int
    length: int
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What the agent shall look at, and how long it waits for counts that lag: it looks every `interval_ms` until `still`
    looks agree, while a PATIENT program runs, and at the end of any until all was given back; for `bound_ms` at most.
    `in_use` is the index of the source whose first field counts holders. `free_lists` is a file with a line "count: N" for
    each list of free frames that a CPU keeps for itself, which the first of `keys` leaves out; there need not be one. Keys
    are looked for in the file `accounting`, then in `promises`.
    """

    pagemap: bool = False
    maps: bool = False
    sizes: bool = False
    drain: bool = False
    interval_ms: int = 10
    still: int = 0
    bound_ms: int = 0
    sources: tuple[Source, ...] = ()
    in_use: int = 99
    accounting: str = ""
    promises: str = ""
    refresh: str = ""
    keys: tuple[str, ...] = ()
    free_lists: str = ""

    @property
    def field_names(self) -> list[str]:
        """Name the fields of a frame, in the order in which they travel."""
        return [each.name for source in self.sources for each in source.fields]


def encode_view(view: View) -> bytes:
    """Encode the command that configures what the agent looks at."""
    out = bytes([CONFIGURE, view.pagemap, view.maps, view.sizes, view.drain])
    out += number(view.interval_ms) + number(view.still) + number(view.bound_ms) + number(len(view.sources))
    for source in view.sources:
        out += counted(source.path.encode()) + number(source.base) + number(source.stride)
        out += number(source.length) + number(len(source.fields))
        out += b"".join(number(f.offset) + number(f.width) + number(f.mask) for f in source.fields)
    out += number(view.in_use) + counted(view.accounting.encode()) + counted(view.promises.encode())
    out += counted(view.refresh.encode()) + counted(view.free_lists.encode())
    return out + number(len(view.keys)) + b"".join(counted(key.encode()) for key in view.keys)


@dataclass(frozen=True, slots=True)
class ViewAnswer:
    """Which files of a view could be opened (errno, 0 is good), and the zero page's frame (0: none)."""

    sources: tuple[int, ...]
    accounting: int
    zero_frame: int


def decode_view(reader: Reader, view: View) -> ViewAnswer:
    """Decode the answer to `encode_view(view)`."""
    expect(reader, CONFIGURE)
    return ViewAnswer(tuple(reader.number() for _ in view.sources), reader.number(), reader.number())


def encode_read(path: str, *, offset: int = 0, length: int = 4096) -> bytes:
    """Encode the command that reads a file of the guest."""
    return bytes([READ_FILE]) + counted(path.encode()) + number(offset) + number(length)


def decode_read(reader: Reader) -> tuple[int, bytes]:
    """Decode the answer to `encode_read`: (errno, bytes)."""
    expect(reader, READ_FILE)
    errno = reader.number()
    chunks = []
    while size := reader.number():
        chunks.append(reader.bytes(size))
    return errno, b"".join(chunks)


def decode_uname(reader: Reader) -> bytes:
    """Decode the answer to `UNAME`: what uname(2) stores; nothing where it failed."""
    expect(reader, UNAME)
    return b"" if reader.number() else reader.bytes(len(ANSWERS[Query.UNAME]))


def encode_write(path: str, data: bytes) -> bytes:
    """Encode the command that writes to a file of the guest."""
    return bytes([WRITE_FILE]) + counted(path.encode()) + counted(data)


def decode_write(reader: Reader) -> int:
    """Decode the answer to `encode_write`: errno, 0 is good."""
    expect(reader, WRITE_FILE)
    return reader.number()


def expect(reader: Reader, command: int) -> None:
    """Check that the answer is to `command`. Raises ProtocolError otherwise."""
    got = reader.byte()
    if got != command:
        raise ProtocolError(f"the agent answered command {got}, not {command}", evidence=reader.data)


def answers(data: bytes, decoders: list[Callable[[Reader], Any]]) -> Iterator[Any]:
    """Decode the answers of a message with several commands, one decoder each.

    Raises ProtocolError where the message is empty, ends early, or says more than was asked.
    """
    if not data:
        raise ProtocolError("the agent's answer was too long for its buffer: make the program shorter")
    reader = Reader(data)
    for decode in decoders:
        yield decode(reader)
    if not reader.exhausted:
        extra = len(reader.data) - reader.position
        raise ProtocolError(f"the agent's answer has {extra} bytes after its end", evidence=reader.data[-60:])
