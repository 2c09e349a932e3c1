"""The text form of programs, `.prog`, version 1.

One operation a line, `#` starts a comment, blank lines are free. Grammar::

    file      = { comment } [ "pagepact" VERSION ] { line }
    line      = process ":" verb { operand } [ "=>" outcome ]       outcomes are read and ignored
    process   = "p" NUMBER                                          p0 is there from the start
    place     = WINDOW "[" PAGE "]" [ "+" OFFSET ]                  a[0]   data[1]+0x1f
    range     = WINDOW "[" PAGE [ ".." LAST ] "]" | WINDOW NPAGES   a[1..3]   a 4  (the first four)
              | WINDOW "[" PAGE [ ".." LAST ] "]-" BYTES            a[1..3]-100  (100 bytes less)   a[0]-4096  (none)
    byte      = 0x00 … 0xff, or decimal                             prot = none | r | rw | rx | …

    backing   = "anon" | "stack" | "shm" | FILE [ "+" PAGES ] [ ":" MODE ]  anon   f   f+2 (from page 2 of f on)
    MODE      = "r" | "w"                                           f:r (a descriptor of f that was opened to read)

    p0: map a 4 rw private anon        p0: store a[0]+5 0x11         p0: fork p1
    p0: map a[1] r shared f noreplace  (MAP_FIXED_NOREPLACE)         p1: map a[1] r shared f hint
    p0: map a 4 rw private f fixed populate  (MAP_POPULATE)
    p0: roam a[0..1] b[0..3]           (mremap to where the kernel likes, and from there to b)
    p0: unmap a[1..2]                  p0: load a[0]                 p1: exec
    p0: protect a[0..3] r              p0: fill a[1] 0x22            p1: exit 7
    p0: print a[0] 8                   p1: crash store a[2]          p0: wait p1
    p0: receive pipe a[0]+4090 17 0x33 p0: ask cwd a[0]+1            p0: reap p1 a[0]+3
    p0: force a[0] 0x44                p0: pin a[0]+5                p1: unpin
    p0: force a[0]+4090 0x44 17        p0: peek a[0]+4090 17         (17 bytes by /proc/self/mem)
    p0: poke p1 a[0]+4090 0x44 17      (17 bytes into p1's memory, by /proc/PID/mem)
    p0: fix a[0]                       p0: deliver a[0]+5 0x55       p1: unfix
    p0: read f 100 a[0]+3 17           (17 bytes of f from byte 100 on to a[0]+3)
    p0: readv f 100 a[0]+3 b[1] 17     (17 bytes there, and the next 17 to b[1])
    p0: write f 100 a[0]+3 17          (17 bytes the other way)
    p0: sendfile f 100 g 5000 17       (17 bytes of f to g, from byte 5000 on)
    p0: splice f 100                   (its page into the pipe of pin and unpin)      p0: feed 0x66
    p0: copyrange f 100 g 5000 17      (the same by copy_file_range)
    p0: truncate f 4196                p0: unlink f                  p0: sync a[0..1]
    p0: punch f 100 8292               (a hole, from byte 100 up to byte 8292)
    observe                            (the whole state, here)
    p1: vfork p2                       p1: clone p2                  p1: crowd 300    p1: disperse
    p1: starve 12                      (a fork that finds 12 more frames)
    p1: refuse                         (a fork where no process more is allowed)
    p1: limit 3                        (3 pages more may be mapped, and no more)
    p0: kill p1                        (by SIGKILL; or in vain, where it has ended)
    p1: handle a[1]                    (a SIGSEGV, on a stack that ends with this page; then p1 ends)
    p0: threads 3                      (idle ones, till it ends or execs)
    p0: handover exits                 (a new thread does p0's steps from now on; the one that did them exits, or sleeps)
    p0: mirror a 4 rw shared f+2       (each of the four pages is page 2 of f)
    p0: throng 40 a[0..3]              (a crowd, each of which loads from these pages first)
    p1: exec small                     (another image; exec alone is of the one that p0 begins in)
    p0: repeat 100 3                   (the next three steps, 100 times)

`format_program` and `parse_program` are inverse to each other, comments at the head included.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields
from typing import Any

from harness.errors import ProgramError
from harness.program.files import BACKINGS, FILES, MAX_FILE_SIZE
from harness.program.image import IMAGES
from harness.program.ops import (
    MAX_CROWD,
    MAX_FRAMES_LEFT,
    MAX_LENGTH,
    MAX_THREADS,
    OP_BY_VERB,
    OPS,
    Access,
    Advice,
    Backing,
    Kind,
    Leader,
    Map,
    Misuse,
    Observe,
    Op,
    Opened,
    Placement,
    Populate,
    Query,
    Sharing,
    Via,
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
    Lost,
    Outcome,
    Printed,
    RanOn,
    Received,
    Signal,
)
from harness.program.program import Program
from harness.program.units import PAGE_SIZE, Address, PageRange, Prot

VERSION = 1
_PLACE = re.compile(r"([a-z]+)\[(\w+)\](?:\+(\w+))?")
_RANGE = re.compile(r"([a-z]+)\[(\w+)(?:\.\.(\w+))?\](?:-(\w+))?")
_HEADER = re.compile(r"pagepact\s+(\S+)$")


@dataclass(frozen=True, slots=True)
class Operand:
    """How one kind of operand is written: format it, and parse it from its word."""

    format: Callable[[Any], str]
    parse: Callable[[str], Any]


def _integer(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise ValueError(f"{word!r} is no number; write 17 or 0x11") from None


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(word: str) -> int:
        value = _integer(word)
        if not low <= value <= high:
            raise ValueError(f"{word} is not between {low} and {high}")
        return value

    return parse


def _process(word: str) -> int:
    if not re.fullmatch(r"p\d+", word):
        raise ValueError(f"{word!r} is no process; processes are called p0, p1, …")
    return int(word[1:])


def _place(word: str) -> Address:
    match = _PLACE.fullmatch(word)
    if not match:
        raise ValueError(f"{word!r} is no place; write a[0] or a[0]+5")
    window, index, offset = match.groups()
    return Address(window, _integer(index), _integer(offset or "0"))


def _range(word: str) -> PageRange:
    match = _RANGE.fullmatch(word)
    if not match:
        raise ValueError(f"{word!r} is no range of pages; write a[0] or a[0..3]")
    window, first, last, short = match.groups()
    start = _integer(first)
    return PageRange(window, start, _integer(last or first) - start + 1, _integer(short or "0"))


def _prot(word: str) -> Prot:
    try:
        return Prot.parse(word)
    except ValueError:
        raise ValueError(f"{word!r} is no protection; write none, r, rw, rx, …") from None


def _backing(word: str) -> Backing:
    place, colon, mode = word.partition(":")
    name, plus, pgoff = place.partition("+")
    if name not in BACKINGS:
        raise ValueError(f"{name!r} is not one of: {', '.join(BACKINGS)}")
    opened = _word(Opened).parse(mode) if colon else Opened.BOTH
    return Backing(name, _integer(pgoff) if plus else 0, opened)


def _file(word: str) -> str:
    if word not in FILES:
        raise ValueError(f"{word!r} is not one of: {', '.join(FILES)}")
    return word


def _image(word: str) -> str:
    if word not in IMAGES:
        raise ValueError(f"{word!r} is not one of: {', '.join(IMAGES)}")
    return word


def _word(kind: Any) -> Operand:
    def parse(word: str) -> Any:
        try:
            return kind(word)
        except ValueError:
            known = ", ".join(member.value for member in kind)
            raise ValueError(f"{word!r} is not one of: {known}") from None

    return Operand(lambda member: str(member.value), parse)


OPERANDS: dict[Any, Operand] = {
    Kind.PROCESS: Operand(lambda n: f"p{n}", _process),
    Kind.CHILD: Operand(lambda n: f"p{n}", _process),
    Kind.BYTE: Operand(lambda n: f"0x{n:02x}", _number(0, 255)),
    Kind.NPAGES: Operand(str, _number(1, 16)),
    Kind.STATUS: Operand(str, _number(0, 255)),
    Kind.LENGTH: Operand(str, _number(1, MAX_LENGTH)),
    Kind.CROWD: Operand(str, _number(1, MAX_CROWD)),
    Kind.THREADS: Operand(str, _number(1, MAX_THREADS)),
    Kind.FRAMES: Operand(str, _number(0, MAX_FRAMES_LEFT)),
    Kind.ROUNDS: Operand(str, _number(1, 100_000)),
    Kind.BODY: Operand(str, _number(1, 64)),
    Kind.COUNT: Operand(str, _number(1, PAGE_SIZE)),
    Kind.FILE: Operand(str, _file),
    Kind.IMAGE: Operand(str, _image),
    Kind.FILE_OFFSET: Operand(str, _number(0, MAX_FILE_SIZE)),
    Address: Operand(str, _place),
    PageRange: Operand(str, _range),
    Prot: Operand(str, _prot),
    Sharing: _word(Sharing),
    Backing: Operand(str, _backing),
    Placement: _word(Placement),
    Populate: _word(Populate),
    Access: _word(Access),
    Via: _word(Via),
    Query: _word(Query),
    Advice: _word(Advice),
    Misuse: _word(Misuse),
    Leader: _word(Leader),
}
"""How each kind of operand is written; the key is the field's `Kind`, or its type."""


def _kinds_of(op: type[Op]) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(op, include_extras=True)
    names = [field.name for field in fields(op) if field.name != "process"]
    return tuple((name, _kind(hints[name])) for name in names)


def _kind(hint: Any) -> Any:
    marks = getattr(hint, "__metadata__", None)
    return marks[0] if marks else hint


OPERAND_KINDS = {op: _kinds_of(op) for op in OPS}
"""For each operation (field name, kind) of its operands, in order, without the process."""


# ---------------------------------------------------------------------------------- writing


def format_op(op: Op) -> str:
    """Write one operation as a line, without its outcome."""
    if isinstance(op, Observe):
        return op.verb
    words = [OPERANDS[kind].format(getattr(op, name)) for name, kind in OPERAND_KINDS[type(op)]]
    if isinstance(op, Map) and op.pages.first == op.pages.short == 0:
        words[0] = f"{op.pages.window} {op.pages.npages}"
    for each in reversed(_optional(type(op))):
        if getattr(op, each.name) != each.default:
            break
        words.pop()
    return " ".join([f"p{op.process}:", op.verb, *words])


def _optional(op: type[Op]) -> tuple[Field[Any], ...]:
    """Give the operands that need not be written, in their order."""
    return fields(op)[len(fields(op)) - op.optional :]


def format_program(program: Program) -> str:
    """Write a program; its title becomes the comment at the head."""
    head = [f"# {line}".rstrip() for line in lines_of(program.title)]
    return "\n".join([*head, f"pagepact {VERSION}", *map(format_op, program.steps)]) + "\n"


def format_outcome(outcome: Outcome | None) -> str:
    """Write what a caller saw, as it stands behind `=>`."""
    match outcome:
        case None:
            return ""
        case Done():
            return "done"
        case Loaded(value):
            return f"0x{value:02x}"
        case Printed(length):
            return f"wrote {length}"
        case Received(length):
            return f"received {length}"
        case Faulted(signal, code, at, raw):
            name = code.name if isinstance(code, Code) else f"code {code}"
            where = str(at) if at else f"0x{raw or 0:x}"
            return f"{signal_name(signal)} {name} at {where}"
        case Failed(errno):
            return errno
        case Exited(status):
            return f"exited {status}"
        case Killed(signal):
            return f"killed {signal_name(signal)}"
        case Gone():
            return "gone"
        case RanOn():
            return "did not wait"
        case Lost(why):
            return f"LOST ({why})"


def signal_name(signal: Signal | int) -> str:
    """Name a signal as the man-pages do."""
    return signal.name if isinstance(signal, Signal) else f"signal {signal}"


def format_steps(program: Program, outcomes: tuple[Outcome | None, ...]) -> Iterator[str]:
    """Write each step with its outcome behind it, outcomes aligned in one column."""
    lines = [format_op(op) for op in program.steps]
    width = max((len(line) for line in lines), default=0)
    for line, outcome in zip(lines, outcomes, strict=False):
        said = format_outcome(outcome)
        yield f"{line:<{width}}   => {said}" if said else line
    yield from lines[len(outcomes) :]


# ---------------------------------------------------------------------------------- reading


def lines_of(text: str) -> list[str]:
    """Split at line feeds alone, as editors count lines; `splitlines` would also split at form feeds and U+2028."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def parse_program(text: str, *, source: str | None = None) -> Program:
    """Read a program.

    Raises ProgramError, with the line, where the text is malformed or its version is newer than ours.
    """
    steps: list[Op] = []
    lines: list[int] = []
    title: list[str] = []
    in_head = True
    for number, raw in enumerate(lines_of(text), start=1):
        line, _, comment = raw.partition("#")
        line = line.partition("=>")[0].strip()
        if not line:
            if in_head and "#" in raw:
                title.append(comment.strip())
            continue
        in_head = False
        try:
            if not _is_header(line, first=not steps):
                steps.append(parse_op(line))
                lines.append(number)
        except (ValueError, KeyError) as error:
            raise ProgramError(str(error.args[0]), line=number, source=source) from None
    return _assemble(steps, lines, "\n".join(title), source)


def _assemble(steps: list[Op], lines: list[int], title: str, source: str | None) -> Program:
    try:
        return Program(tuple(steps), title)
    except ProgramError as error:
        match = re.match(r"step (\d+)", error.reason)
        line = lines[int(match[1]) - 1] if match else None
        raise ProgramError(error.reason, line=line, source=source) from None


def _is_header(line: str, *, first: bool) -> bool:
    match = _HEADER.match(line)
    if not match:
        return False
    if not first or not match[1].isdigit():
        raise ValueError("the line 'pagepact VERSION' stands before the first step, with a number")
    if int(match[1]) > VERSION:
        raise ValueError(
            f"this program has format version {match[1]}, and this pagepact reads up to {VERSION}: update pagepact"
        )
    return True


def parse_op(line: str) -> Op:
    """Read one operation. Raises ValueError with a sentence for a person."""
    if line == Observe.verb:
        return Observe(0)
    name, colon, rest = line.partition(":")
    verb, *words = rest.split() or [""]
    if not colon or not verb:
        raise ValueError(f"{line!r} is no step; a step reads 'p0: load a[0]'")
    if verb == Observe.verb:
        raise ValueError(f"{verb!r} is no process's step: it stands alone on its line")
    if verb not in OP_BY_VERB:
        known = ", ".join(each for each in OP_BY_VERB if each != Observe.verb)
        raise ValueError(f"there is no operation {verb!r}; known are: {known}")
    op = OP_BY_VERB[verb]
    if issubclass(op, Map) and len(words) > 1 and "[" not in words[0]:
        words[:2] = [f"{words[0]}[0..{_number(1, 1 << 16)(words[1]) - 1}]"]
    return op(_process(name.strip()), *_operands(op, words))


def _operands(op: type[Op], words: list[str]) -> Iterator[Any]:
    kinds = OPERAND_KINDS[op]
    least, most = len(kinds) - op.optional, len(kinds)
    if not least <= len(words) <= most:
        wanted = " ".join(name.upper() for name, _ in kinds)
        count = f"{least} to {most}" if op.optional else f"{most}"
        raise ValueError(f"{op.verb} takes {count} operands ({wanted or 'none'}), not {len(words)}")
    for word, (_, kind) in zip(words, kinds, strict=False):
        yield OPERANDS[kind].parse(word)
