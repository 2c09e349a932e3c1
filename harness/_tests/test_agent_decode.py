"""The agent's account to a trace: whole runs of the twin, hand-made records, and answers that make no sense."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness._tests.fake_agent import Account, FakeAgent, Shown, clipped, counted, leb
from harness.agent.client import AgentClient
from harness.agent.codec import PROMISED, Reader, View, answers
from harness.agent.decode import TraceDecoder, frame_seen
from harness.agent.linux import KPAGECOUNT, KPAGEFLAGS
from harness.compare import compare
from harness.errors import ProtocolError
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Accounting, Ending, FrameFlag, FrameSeen, PageSeen, RssSeen, SizeSeen, Trace, VmaSeen
from harness.program.units import WINDOW_BY_NAME, Prot
from harness.subject import How
from strategies.programs import programs

A = WINDOW_BY_NAME["a"].vpn
SEEN = View(pagemap=True, maps=True, sources=(KPAGECOUNT, KPAGEFLAGS), keys=("free", "tables", "anonymous", PROMISED))
SHOWN = Shown(fields=["mapcount", "kflags"])
STORY = parse_program(
    """
    p0: map a 2 rw private anon
    p0: store a[0] 0x11
    p0: load data[1]
    p0: fork p1
    p1: store a[0] 0x22
    observe
    p1: print a[0] 4
    p1: load b[0]
    p1: exit 3
    p0: wait p1
    """
)
TWO_PAGES = parse_program("p0: load a[0]\np0: load a[1]")


def decode(program: Program, answer: bytes, view: View = SEEN, *, faults: bool = False) -> Trace:
    return TraceDecoder(program, view, zero_frame=0, counts_faults=faults).decode(Reader(answer))


def ended(*records: bytes) -> bytes:
    return b"\x02" + b"".join(records) + b"\0"


# ---------------------------------------------------------------------------------- whole runs


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(program=programs(), dense=st.booleans(), count_faults=st.booleans(), accounting=st.booleans())
def test_what_the_twin_saw_is_what_comes_out(program: Program, dense: bool, count_faults: bool, accounting: bool) -> None:
    how = How(dense=dense, count_faults=count_faults, accounting=accounting)
    trace = clipped(program, ModelGuest().execute(program, how))
    answer = Account(program, trace, SHOWN, list(TraceDecoder(program, SEEN, zero_frame=0, counts_faults=False).windows))

    decoded = decode(program, answer.whole(), faults=count_faults)

    assert decoded.outcomes == trace.outcomes
    assert decoded.faults == trace.faults
    assert decoded.outputs == trace.outputs
    assert (decoded.before, decoded.after) == (trace.before, trace.after)
    assert [each.processes for each in decoded.observations] == [each.processes for each in trace.observations]
    assert [each.after for each in decoded.observations] == [each.after for each in trace.observations]
    assert (decoded.ending, decoded.leftover, decoded.unreaped) == (Ending.COMPLETE, {}, 0)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(program=programs(), dense=st.booleans())
def test_a_program_over_the_wire_conforms_as_it_does_at_home(program: Program, dense: bool) -> None:
    agent = FakeAgent(files={"/proc/self/pagemap": bytes(8), "/proc/self/maps": b"x", "/proc/kpagecount": b"x"})
    client = AgentClient(agent)
    client.prepare()

    trace = client.execute(program, How(dense=dense))

    assert compare(program, trace, PRESETS["model"]).conforms


# ---------------------------------------------------------------------------------- records


def observation(*processes: bytes, frames: bytes = b"\0", after: int = 2, presence: int = 1) -> bytes:
    return b"\x02" + leb(after) + bytes([presence]) + leb(len(processes)) + b"".join(processes) + frames


def test_pages_share_a_frame_by_its_place_in_the_table() -> None:
    frames = leb(2) + leb(700) + leb(1) + leb(1 << 5) + leb(900) + leb(2) + leb(1 << 24)
    seen = observation(b"\0\x02\x01\x00", b"\x01\x01\x00\x02", frames=frames)

    (only,) = decode(TWO_PAGES, ended(seen)).observations

    assert only.processes[0].pages == {A: PageSeen(True, 900), A + 1: PageSeen(True, 700)}
    assert only.processes[1].pages == {A: PageSeen(True, 700), A + 1: PageSeen(False)}
    assert only.frames == {700: FrameSeen(1, None, FrameFlag.LRU), 900: FrameSeen(2, None, FrameFlag.ZERO_PAGE)}


def test_without_presence_all_pages_may_have_bytes_and_none_is_known_to_be_there() -> None:
    content = b"\x08\0" + leb(2) + counted(b"\0" + b"\x01\x07\x80\x20")

    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0\x02", presence=0), content)).observations

    assert only.processes[0].pages == {A: PageSeen(None), A + 1: PageSeen(None, None, ((7, 4096),))}
    assert only.processes[0].vmas is None


def test_bytes_go_to_the_present_pages_in_order() -> None:
    frames = leb(1) + leb(5) + leb(1) + leb(0)
    content = b"\x08\0" + leb(1) + counted(b"\x02\x11\x01\x00\xff\x1f")

    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\x01\0", frames=frames), content)).observations

    assert only.processes[0].pages[A].content is None
    assert only.processes[0].pages[A + 1].content == ((0x11, 1), (0, 4095))


def test_a_resident_set_comes_in_kib_and_is_told_in_pages() -> None:
    resident = b"\x09\0\x01" + leb(12) + leb(0) + leb(400) + leb(2) + leb(99) + b"\0"

    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0\x02"), resident)).observations

    assert only.processes[0].rss == RssSeen(3, 0, 100, 2, 99)


def test_a_resident_set_that_the_kernel_does_not_tell_is_none() -> None:
    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0\x02"), b"\x09\0\0\0")).observations

    assert only.processes[0].rss is None


def test_a_size_is_told_as_counted_and_as_mapped() -> None:
    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0\x02"), b"\x09\0\0\x01" + leb(300) + leb(299))).observations

    assert only.processes[0].size == SizeSeen(300, 299)


def test_vmas_come_back_to_their_windows() -> None:
    vmas = b"\x01\0\x01\x01\x13\x09" + b"\x01\0\0\x01\x03\0" + b"\0"

    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0" + vmas))).observations

    assert only.processes[0].vmas == (VmaSeen(A, 1, Prot.R | Prot.W), VmaSeen(A + 1, 1, Prot.R | Prot.W, False, 9))


def test_leftover_frames_come_with_their_counts() -> None:
    left = b"\x05\x01" + leb(700) + leb(0) + leb(1 << 12) + b"\0"

    assert decode(TWO_PAGES, ended(left)).leftover == {700: FrameSeen(0, None, FrameFlag.ANON)}


def test_a_guest_that_said_nothing_of_leftovers_cannot_tell() -> None:
    trace = decode(TWO_PAGES, ended())

    assert (trace.leftover, trace.unreaped, trace.before, trace.faults) == (None, None, None, None)


def test_accounts_are_before_and_after_and_a_missing_key_is_not_zero() -> None:
    trace = decode(TWO_PAGES, ended(b"\x06\x08\x01\x00\x09", b"\x06\x09\x02\x00\x00"))

    assert (trace.before, trace.after) == (Accounting(7, 0, None, promised=2), Accounting(8, 1, None))


def test_outputs_add_up() -> None:
    trace = decode(TWO_PAGES, ended(b"\x03\x00" + counted(b"ab"), b"\x03\x01" + counted(b"x"), b"\x03\x00" + counted(b"c")))

    assert trace.outputs == {0: b"abc", 1: b"x"}


@pytest.mark.parametrize(
    ("record", "ending", "evidence"),
    [
        (b"\x04\x00\x02\x00", Ending.COMPLETE, ""),
        (b"\x04\x01\x01" + leb(2 << 8 | 11), Ending.LOST, "the process was killed by signal 11"),
        (b"\x04\x01\x01" + leb(1 << 8 | 3), Ending.LOST, "the process exited with status 3"),
        (b"\x04\x02\x01\x00", Ending.STUCK, ""),
        (b"\x04\x03\x01\x00", Ending.FORK_FAILED, ""),
    ],
)
def test_endings_carry_their_evidence(record: bytes, ending: Ending, evidence: str) -> None:
    trace = decode(TWO_PAGES, ended(record))

    assert (trace.ending, trace.evidence) == (ending, evidence)


def test_what_the_kernel_says_of_a_silent_process_is_evidence() -> None:
    files = (b"78 (init) S 1 0", b"pipe_read", b"0 0x8\n", b"[<0>] pipe_read+0x3df/0x470\n")
    record = b"\x0b\x01" + b"".join(counted(text) for text in files)
    trace = decode(TWO_PAGES, ended(record, b"\x04\x02\x00\x00"))

    said = "the kernel says that p1 sleeps in pipe_read, in system call 0\n[<0>] pipe_read+0x3df/0x470"
    assert (trace.ending, trace.evidence) == (Ending.STUCK, said)


def test_faults_stand_in_front_of_their_outcome() -> None:
    trace = decode(TWO_PAGES, ended(b"\x01\x02" + counted(b"\x02\x01\x00" + b"\x00\x01\x07")), faults=True)

    assert trace.faults == (1, None)


def test_raw_counts_of_struct_page_become_counts_and_flags() -> None:
    nobody = frame_seen({"refcount": 1, "map_raw": 0xFFFF_FFFF, "lru": 0, "anon": 0}, is_zero=False)
    shared = frame_seen({"refcount": 2, "map_raw": 1, "lru": 1 << 5, "anon": 1}, is_zero=False)
    zero = frame_seen({"refcount": 1, "map_raw": 0xFFFF_FFFF, "lru": 0, "anon": 0}, is_zero=True)
    unread = frame_seen(dict.fromkeys(("refcount", "map_raw", "lru", "anon"), (1 << 64) - 1), is_zero=False)

    assert nobody == FrameSeen(0, 1, FrameFlag(0))
    assert shared == FrameSeen(2, 2, FrameFlag.LRU | FrameFlag.ANON)
    assert zero.flags == FrameFlag.ZERO_PAGE
    assert unread == FrameSeen()


@pytest.mark.parametrize("part", ["head", "tail"])
def test_the_counts_of_a_page_of_several_frames_are_no_frame_s(part: str) -> None:
    assert frame_seen({"refcount": 1, "map_raw": 0, "lru": 0, "anon": 0, part: 1}, is_zero=False) == FrameSeen()


# ---------------------------------------------------------------------------------- nonsense

NONSENSE = {
    "an answer without an end": (b"\x02", "ends in the middle"),
    "an answer to another command": (b"\x03\0", "answered command 3, not 2"),
    "an unknown record": (ended(b"\x7f"), "unknown record 127"),
    "an unknown outcome": (ended(b"\x01\x01" + counted(b"\x7e")), "unknown outcome 126"),
    "an outcome that is cut": (ended(b"\x01\x01" + counted(b"\x01")), "ends in the middle"),
    "fewer outcomes than it says": (ended(b"\x01\x02" + counted(b"\0")), "ends in the middle"),
    "more outcomes than steps": (ended(b"\x01\x03" + counted(b"\0\0\0")), "more steps than the program has"),
    "an unknown ending": (ended(b"\x04\x05\0\0"), "could not read the program"),
    "a program that was malformed": (ended(b"\x04\x04\0\0"), "could not read the program"),
    "a frame that is not in the table": (ended(observation(b"\0\x01\0\0")), "frame number 1 of 0"),
    "a VMA in a window that is not observed": (
        ended(observation(b"\0\0\0" + b"\x01\x01\0\x01\x03\0\0")), "window 1, which is not observed",
    ),
    "a VMA that goes on behind its window": (
        ended(observation(b"\0\0\0" + b"\x01\0\0" + leb(1 << 60) + b"\x03\0\0")), "outside the observed pages",
    ),
    "a VMA behind its window": (ended(observation(b"\0\0\0" + b"\x01\0\x02\x01\x03\0\0")), "outside the observed pages"),
    "accounts before any observation": (ended(b"\x09\0\0"), "accounts of p0, which it did not observe"),
    "bytes before any observation": (ended(b"\x08\0\0\0"), "bytes of p0, which it did not observe"),
    "bytes of a process that was not observed": (
        ended(observation(b"\0\0\0\0"), b"\x08\x05\0\0"), "bytes of p5, which it did not observe",
    ),
    "bytes of more pages than are there": (
        ended(observation(b"\0\0\0\0"), b"\x08\0\x01" + counted(b"\0")), "bytes of more pages than p0 has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_a_protocol_error_that_names_it(what: str) -> None:
    answer, words = NONSENSE[what]

    with pytest.raises(ProtocolError, match=words):
        decode(TWO_PAGES, answer)


def test_the_same_vma_twice_is_no_crash() -> None:
    twice = b"\x01\0\0\x01\x03\0" + b"\x01\0\0\x01\x13\x05" + b"\0"

    (only,) = decode(TWO_PAGES, ended(observation(b"\0\0\0" + twice))).observations

    assert len(only.processes[0].vmas or ()) == 2


def _damaged(answer: bytes, choose: random.Random) -> bytes:
    damaged = bytearray(answer)
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(damaged))
        match choose.randrange(5):
            case 0:
                damaged[at] = choose.randrange(256)
            case 1:
                damaged[at] ^= 1 << choose.randrange(8)
            case 2:
                del damaged[at : at + choose.randint(1, 9)]
            case 3:
                damaged[at:at] = bytes(choose.randrange(256) for _ in range(choose.randint(1, 9)))
            case _:
                del damaged[at:]
        damaged = damaged or bytearray(b"\x02")
    return bytes(damaged)


ANSWERS = {
    how: Account(
        STORY,
        clipped(STORY, ModelGuest().execute(STORY, how)),
        SHOWN,
        list(TraceDecoder(STORY, SEEN, zero_frame=0, counts_faults=False).windows),
    ).whole()
    for how in (How(), How(dense=True, count_faults=True, accounting=True))
}


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1 << 64), st.sampled_from([*ANSWERS]))
def test_a_damaged_answer_is_a_protocol_error_or_a_trace_that_can_be_compared(number: int, how: How) -> None:
    answer = _damaged(ANSWERS[how], random.Random(number))

    try:
        trace = decode(STORY, answer, faults=how.count_faults)
    except ProtocolError:
        return

    assert isinstance(compare(STORY, trace, PRESETS["model"]).conforms, bool)


def test_the_undamaged_answers_conform() -> None:
    for how, answer in ANSWERS.items():
        trace = decode(STORY, answer, faults=how.count_faults)

        assert compare(STORY, replace(trace), PRESETS["model"]).conforms


def test_bytes_after_the_end_of_an_answer_are_a_protocol_error() -> None:
    answer = ended(b"\x04\x00\x00\x00")
    decoder = TraceDecoder(TWO_PAGES, SEEN, zero_frame=0, counts_faults=False)

    with pytest.raises(ProtocolError, match="2 bytes after its end"):
        list(answers(answer + b"xx", [decoder.decode]))
