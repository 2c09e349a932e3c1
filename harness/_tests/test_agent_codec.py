"""The dialect: LEB128, programs as the agent reads them, settings, and answers to several commands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from harness._tests.fake_agent import ERRNO, leb, read_program, saw
from harness.agent.client import AgentClient
from harness.agent.codec import (
    Field,
    Reader,
    Source,
    View,
    answers,
    counted,
    decode_read,
    decode_view,
    decode_write,
    encode_program,
    encode_read,
    encode_view,
    encode_write,
    number,
    observed_pages,
)
from harness.agent.decode import TraceDecoder
from harness.errors import ProtocolError
from harness.program.ops import OPS, Store
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
from harness.program.text import parse_program
from harness.program.trace import Ending
from harness.program.units import Address, PageRange
from harness.subject import How
from strategies.programs import programs

EDGES = (0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, 0x1F_FFFF, 0x20_0000, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
FEW = settings(max_examples=120, deadline=None, derandomize=True, database=None)

EVERY_OPERATION = parse_program(
    """
    p0: map c[3..6] rw private anon
    p0: protect c[4] r
    p0: store c[3]+4095 0xff
    p0: load c[3]
    p0: fill c[5] 0x22
    p0: print c[3]+4000 64
    p0: unmap c[6]
    p0: remap c[3..4] c[4..6]
    p0: roam c[3] c[5..6]
    p0: receive socket c[3]+4000 3001 0x33
    p0: ask itimer c[3]+4095
    p0: force c[4]+1 0x44
    p0: force c[4]+4090 0x44 17
    p0: peek c[4]+4090 17
    p0: pin c[3]+4095
    p0: advise c[3..4] populate-write
    p0: brk heap[2]+100
    p0: scratch 3
    p0: try unmap-misaligned c[3..4]
    p0: fix c[5]
    p0: deliver c[5]+4095 0x55
    p0: unfix
    p0: map c[3..4] rw shared f+1
    p0: read f 4095 c[3]+4090 17
    p0: sendfile f 4095 m 100 17
    p0: splice g 4097
    p0: feed 0x66
    p0: copyrange f 4095 g 8191 4096
    p0: mirror many[174..175] rw private g+1
    p0: readv f 4095 c[3]+4090 c[5] 17
    p0: write m 65535 c[4] 1
    p0: truncate g 65536
    p0: punch m 4095 65536
    p0: unlink g
    p0: sync c[3..4]
    p0: fork p1
    p0: fork p2
    p2: poke p1 c[3]+4090 0x44 17
    p2: unpin
    p2: exit 1
    p0: reap p2 c[5]+3
    observe
    p1: exec
    p1: load data[2]+7
    p1: exec large-text
    p1: crash store text[1]+9
    p0: wait p1
    p0: clone p3
    p0: repeat 300 2
    p0: crowd 300
    p0: disperse
    p0: throng 400 c[3..6]
    p0: disperse
    p0: handover sleeps
    p0: starve 12
    p0: kill p3
    p0: threads 8
    p0: refuse
    p0: limit 3
    p0: vfork p4
    p4: exit 1
    p0: clone p5
    p5: handle c[4]
    p0: exit 255
    """
)


# ---------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", EDGES)
def test_a_number_survives_the_way(value: int) -> None:
    assert number(value) == leb(value)
    assert Reader(number(value)).number() == value


def test_seven_bits_take_one_byte_and_eight_take_two() -> None:
    assert (number(0x7F), number(0x80), number(0x3FFF), number(0x4000)) == (
        b"\x7f", b"\x80\x01", b"\xff\x7f", b"\x80\x80\x01",
    )  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff\xff"])
def test_a_number_without_its_end_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="ends in the middle"):
        Reader(data).number()


def test_a_text_that_is_shorter_than_it_says_is_a_protocol_error() -> None:
    assert Reader(counted(b"abc")).part().data == b"abc"
    with pytest.raises(ProtocolError, match="ends in the middle"):
        Reader(b"\x04abc").part()


# ---------------------------------------------------------------------------------- programs


def test_the_sample_has_every_operation() -> None:
    assert {type(op) for op in EVERY_OPERATION.steps} == set(OPS)


def test_the_agent_reads_every_operation_as_it_was_written() -> None:
    reader = Reader(encode_program(EVERY_OPERATION, flags=5))

    command = reader.byte()
    flags, pages, program = read_program(reader)

    assert (command, flags, reader.exhausted) == (2, 5, True)
    assert pages == [
        PageRange("c", 3, 4),
        PageRange("text", 0, 2),
        PageRange("data", 0, 4),
        PageRange("bss", 0, 4),
        PageRange("heap", 0, 3),
        PageRange("textend", 0, 4),
        PageRange("many", 174, 2),
    ]
    assert program == EVERY_OPERATION


@FEW
@given(programs())
def test_the_agent_reads_the_program_that_was_sent(program: Program) -> None:
    reader = Reader(encode_program(program, flags=0))
    reader.byte()

    _, _, received = read_program(reader)

    assert received == program


@FEW
@given(programs())
def test_every_page_that_a_program_names_is_observed(program: Program) -> None:
    observed = {(each.window, each.first + i) for each in observed_pages(program) for i in range(each.npages)}

    stored = {(op.at.window, op.at.index) for op in program.steps if isinstance(op, Store)}
    assert stored <= observed
    assert tuple(dict.fromkeys(each.window for each in observed_pages(program))) == program.windows


def test_of_a_wide_window_the_watched_pages_are_observed_and_operands_count_from_its_first() -> None:
    program = parse_program("p0: store d[3] 1\np0: unmap w[300..511]\np0: store w[256] 2")

    assert observed_pages(program) == (
        PageRange("d", 3, 1),
        PageRange("w", 0, 3),
        PageRange("w", 256, 1),
        PageRange("w", 510, 2),
    )
    assert b"\x01\xac\x02" in encode_program(program, flags=0)  # in the second range, 300 pages from its first on


def test_a_program_that_names_no_page_has_none_observed() -> None:
    assert observed_pages(parse_program("p0: fork p1\np1: exit 0")) == ()


# ---------------------------------------------------------------------------------- outcomes

SAID: list[Outcome] = [
    Done(),
    Loaded(0xFF),
    Printed(64),
    Received(200),
    RanOn(),
    Faulted(Signal.SIGSEGV, Code.MAPERR, Address("a", 1, 17)),
    Faulted(Signal.SIGSEGV, Code.ACCERR, Address("e", 15, 4095)),
    Faulted(Signal.SIGBUS, Code.ADRERR, Address("text", 0)),
    Faulted(Signal.SIGSEGV, 77, None, 0x7FFF_FFFF_F000),
    Faulted(60, 3, None, 1),
    Failed("ENOMEM"),
    Failed("EOPNOTSUPP"),
    Exited(255),
    Killed(Signal.SIGKILL),
    Killed(34),
    Gone(),
]


@pytest.mark.parametrize("outcome", SAID, ids=str)
def test_an_outcome_survives_the_way(outcome: Outcome) -> None:
    program = parse_program("p0: load a[0]")
    said = saw(outcome)
    answer = b"\x02\x01\x01" + counted(said) + b"\x04\0\x01\0\0"

    trace = TraceDecoder(program, View(), zero_frame=0, counts_faults=False).decode(Reader(answer))

    assert trace.outcomes == (outcome,)
    assert trace.ending is Ending.COMPLETE


def test_an_errno_without_a_name_is_told_by_its_number() -> None:
    answer = b"\x02\x01\x01" + counted(b"\x04" + leb(4000)) + b"\x04\0\x01\0\0"

    trace = TraceDecoder(parse_program("p0: exec"), View(), zero_frame=0, counts_faults=False).decode(Reader(answer))

    assert trace.outcomes == (Failed("errno 4000"),)
    assert ERRNO["ENOMEM"] == 12


# ---------------------------------------------------------------------------------- settings


def test_a_view_is_encoded_as_observe_c_reads_it() -> None:
    source = Source("/x", 0x1000, 64, 8, (Field("refcount", 52, 4, 0xFF),))
    view = View(
        pagemap=True, sizes=True, sources=(source,), in_use=0, accounting="/a", promises="/p", free_lists="/l", keys=("k",)
    )

    encoded = encode_view(view)

    settings = b"\x01\x01\x00\x01\x00" + b"\x0a\x00\x00" + b"\x01" + b"\x02/x" + b"\x80\x20" + b"\x40" + b"\x08"
    files = b"\x02/a" + b"\x02/p" + b"\x00" + b"\x02/l"
    assert encoded == settings + b"\x01" + b"\x34\x04\xff\x01" + b"\x00" + files + b"\x01\x01k"


def test_the_answer_to_a_view_has_one_errno_for_each_source() -> None:
    view = View(sources=(Source("/x", 0, 8, 8, ()), Source("/y", 0, 8, 8, ())))

    answer = decode_view(Reader(b"\x01\x00\x02\x0d" + leb(4711)), view)

    assert (answer.sources, answer.accounting, answer.zero_frame) == ((0, 2), 13, 4711)


def test_files_travel_in_chunks() -> None:
    answer = b"\x03\x00" + counted(b"abc") + counted(b"de") + b"\x00"

    assert encode_read("/x", offset=300, length=2) == b"\x03\x02/x\xac\x02\x02"
    assert decode_read(Reader(answer)) == (0, b"abcde")
    assert decode_read(Reader(b"\x03\x02\x00")) == (2, b"")


def test_writes_travel_with_their_bytes() -> None:
    assert encode_write("/x", b"1\n") == b"\x04\x02/x\x021\n"
    assert decode_write(Reader(b"\x04\x0d")) == 13


# ---------------------------------------------------------------------------------- answers


def test_the_answers_of_one_message_come_in_order() -> None:
    assert list(answers(b"\x04\x00\x04\x0d", [decode_write, decode_write])) == [0, 13]


def test_an_answer_to_another_command_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="answered command 3, not 4"):
        list(answers(b"\x03\x00\x00", [decode_write]))


def test_an_empty_answer_says_that_the_program_was_too_long() -> None:
    with pytest.raises(ProtocolError, match="too long for its buffer: make the program shorter"):
        list(answers(b"", [decode_write]))


def test_a_program_is_not_sent_to_an_agent_that_was_not_configured() -> None:
    class Silent:
        last_step = None
        starved_s = 0.0

        def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
            raise AssertionError("nothing is to be sent")

    with pytest.raises(ProtocolError, match="not configured"):
        AgentClient(Silent()).execute(EVERY_OPERATION, How())
