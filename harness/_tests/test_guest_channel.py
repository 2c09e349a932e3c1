from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import GuestDied, GuestHung, GuestPanicked, ProtocolError
from harness.guest.channel import MAX_RETRIES, Channel
from harness.guest.console import Console
from harness.guest.definition import LINUX_PANICS
from harness.guest.frames import MAX_MESSAGE, encode_line, encode_message
from harness.guest.memory_transport import FakeAgent, Line, MemoryTransport
from harness.guest.starved import Starvation

Setup = tuple[Channel, FakeAgent, MemoryTransport]


def connected(
    reply: Callable[[bytes], bytes | None] = lambda request: request,
    *,
    to_host: Line = lambda line: line,
    to_guest: Line = lambda line: line,
    chunk: int = 65536,
) -> Setup:
    agent = FakeAgent(reply)
    transport = MemoryTransport(agent, to_host=to_host, to_guest=to_guest, chunk=chunk)
    channel = Channel(Console(transport, LINUX_PANICS))
    return channel, agent, transport


def greeted(reply: Callable[[bytes], bytes | None] = lambda request: request) -> Setup:
    channel, agent, transport = connected(reply)
    channel.hello(10.0)
    return channel, agent, transport


def damage_at(*positions: int, how: Callable[[bytes], bytes]) -> Line:
    """Return a line that treats its messages of these positions with `how`; 0 is the first."""
    count = itertools.count()
    return lambda line: how(line) if next(count) in positions else line


def flip(line: bytes) -> bytes:
    return line[:-3] + bytes([line[-3] ^ 1]) + line[-2:]


def lose(_line: bytes) -> bytes:
    return b""


def interrupt(line: bytes) -> bytes:
    middle = len(line) // 2
    return line[:middle] + b"[    3.141592] usb: noise\n" + line[middle:]


def split_marker(line: bytes) -> bytes:
    return line[:1] + b"[    3.141592] noise\r\n" + line[1:]


def test_the_hello_arrives() -> None:
    channel, _, _ = connected()

    assert channel.hello(10.0) == b"fake agent"


def test_a_request_gets_its_answer() -> None:
    channel, agent, _ = greeted(lambda request: request[::-1])

    assert channel.request(b"abc", timeout_s=1) == b"cba"
    assert agent.requests == [b"abc"]


def test_an_empty_request_and_an_empty_answer_are_messages() -> None:
    channel, _, _ = greeted(lambda request: b"")

    assert channel.request(b"", timeout_s=1) == b""


@settings(max_examples=25, deadline=None)
@given(message=st.binary(max_size=9000), chunk=st.integers(1, 4000))
def test_messages_of_any_length_come_back_whole(message: bytes, chunk: int) -> None:
    channel, _, _ = connected(chunk=chunk)
    channel.hello(10.0)

    assert channel.request(message, timeout_s=1) == message


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\r", b"\r"])
def test_every_end_of_line_will_do(end: bytes) -> None:
    channel, _, _ = connected(to_host=lambda line: line.replace(b"\n", end))
    channel.hello(10.0)

    assert channel.request(b"x" * 5000, timeout_s=1) == b"x" * 5000


@pytest.mark.parametrize("how", [flip, lose, interrupt, split_marker, lambda line: line[:-9] + b"\n"])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_damaged_line_of_an_answer_is_asked_for_again(how: Line, position: int) -> None:
    channel, agent, _ = connected(to_host=damage_at(position, how=how))

    hello = channel.hello(10.0)
    answer = channel.request(b"x" * 2000, timeout_s=20)

    assert (hello, answer) == (b"fake agent", b"x" * 2000)
    assert agent.requests == [b"x" * 2000]


@pytest.mark.parametrize("how", [flip, lose, lambda line: line[5:]])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_damaged_line_of_a_request_is_sent_again(how: Line, position: int) -> None:
    channel, agent, _ = connected(to_guest=damage_at(position, how=how))
    channel.hello(10.0)

    answer = channel.request(b"y" * 4000, timeout_s=20)

    assert answer == b"y" * 4000
    assert agent.requests == [b"y" * 4000]


def test_a_lost_answer_is_no_hang() -> None:
    channel, _, _ = connected(to_host=damage_at(1, how=lose))
    channel.hello(10.0)

    assert channel.request(b"abc", timeout_s=4) == b"abc"


def test_an_answer_that_stays_damaged_is_a_protocol_error() -> None:
    channel, _, transport = connected(to_host=lambda line: flip(line) if b"@<0001" in line else line)
    channel.hello(10.0)

    with pytest.raises(ProtocolError, match="damaged"):
        channel.request(b"abc", timeout_s=1000)

    assert transport.sent.count(b"@?0001\n") == MAX_RETRIES


def test_a_request_that_stays_damaged_is_a_protocol_error() -> None:
    channel, _, _ = connected(to_guest=flip)
    channel.hello(10.0)

    with pytest.raises(ProtocolError, match="damaged"):
        channel.request(b"abc", timeout_s=1000)


def test_doubled_lines_change_nothing() -> None:
    channel, _, _ = connected(to_host=lambda line: line * 2 if b"@<0000" not in line else line)
    channel.hello(10.0)

    answers = [channel.request(bytes([n]) * 5000, timeout_s=5) for n in range(4)]

    assert answers == [bytes([n]) * 5000 for n in range(4)]


def test_the_terminals_echo_is_no_answer() -> None:
    channel, agent, _ = greeted()
    agent.asides = b"".join(encode_message(">", 1, b"abc"))

    assert channel.request(b"abc", timeout_s=1) == b"abc"


def test_log_text_before_and_after_a_message_on_its_line_is_log() -> None:
    channel, agent, _ = connected(
        to_host=lambda line: b"half a line " + line[:-1] + b"[  1.0] more\n" if b"@<" in line else line
    )
    agent.asides = b""
    channel.hello(10.0)

    assert channel.request(b"abc", timeout_s=1) == b"abc"


def test_a_panic_on_the_line_of_a_message_is_seen() -> None:
    channel, _, _ = connected(
        to_host=lambda line: line[:-1] + b" BUG: unable to handle page fault\n" if b"@<0001" in line else line
    )
    channel.hello(10.0)

    with pytest.raises(GuestPanicked, match="unable to handle"):
        channel.request(b"abc", timeout_s=1)


def test_a_warning_right_behind_an_answer_belongs_to_it() -> None:
    channel, _, transport = connected(
        to_host=lambda line: line + b"[ 2.0] WARNING: CPU: 0 PID: 9 at mm/x.c:1\n" if b"@<0001" in line else line
    )
    channel.hello(10.0)

    with pytest.raises(GuestPanicked, match=r"mm/x\.c"):
        channel.request(b"abc", timeout_s=1)

    assert transport.now < 1


def test_a_guest_without_an_answer_hangs_and_says_its_last_step() -> None:
    channel, agent, transport = greeted(lambda request: None)
    agent.asides = b"@~0001.0001\n@~0001.001f\n@~0000.0044\n"

    with pytest.raises(GuestHung, match="step 31"):
        channel.request(b"abc", timeout_s=5)

    assert channel.last_step == 31
    assert transport.now == pytest.approx(5, abs=0.1)


class Starved(Starvation):
    """A machine that gets the host's CPU for the part `share` of the time."""

    def __init__(self, transport: MemoryTransport, share: float) -> None:
        super().__init__(0)
        self.transport, self.share, self.marked_at = transport, share, 0.0

    def mark(self) -> None:
        self.marked_at = self.transport.now

    def seconds(self) -> float:
        return (self.transport.now - self.marked_at) * (1 - self.share)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_deadline_is_put_off_by_what_the_machine_has_lost(share: float) -> None:
    transport = MemoryTransport(FakeAgent(lambda request: None))
    channel = Channel(Console(transport), Starved(transport, share))
    channel.hello(1.0)
    began = transport.now

    with pytest.raises(GuestHung):
        channel.request(b"abc", timeout_s=5)

    assert transport.now - began == pytest.approx(5 / share, rel=0.2)
    assert channel.starved_s == pytest.approx((transport.now - began) * (1 - share), abs=0.3)


def test_a_request_that_was_answered_at_once_has_lost_nothing() -> None:
    transport = MemoryTransport(FakeAgent(lambda request: request))
    channel = Channel(Console(transport), Starved(transport, 0.1))
    channel.hello(1.0)

    assert channel.request(b"abc", timeout_s=5) == b"abc"
    assert channel.starved_s == 0


def test_the_last_step_is_forgotten_with_the_next_request() -> None:
    channel, agent, _ = greeted()
    agent.asides = b"@~0001.0007\n"
    channel.request(b"abc", timeout_s=5)
    first = channel.last_step
    channel.request(b"abc", timeout_s=5)

    assert (first, channel.last_step) == (7, None)


def test_a_second_hello_in_the_middle_is_a_restart() -> None:
    channel, agent, _ = greeted(lambda request: None)
    agent.asides = b"booting again\n" + b"".join(encode_message("<", 0, b"fake agent"))

    with pytest.raises(GuestDied, match="rebooted or restarted") as caught:
        channel.request(b"abc", timeout_s=5)

    assert "booting again" in caught.value.console


def test_a_hello_that_was_asked_for_twice_is_no_restart() -> None:
    channel, _, transport = connected(to_host=damage_at(0, how=lose))
    transport.print(b"@<junk\n")
    channel.hello(10.0)
    transport.print(b"".join(encode_message("<", 0, b"fake agent")))

    assert channel.request(b"abc", timeout_s=5) == b"abc"


def test_the_end_of_the_machine_is_a_death() -> None:
    channel, _, transport = greeted()
    transport.print(b"reboot: Restarting system\n")
    transport.end()

    with pytest.raises(GuestDied):
        channel.request(b"abc", timeout_s=5)


def test_a_guest_that_floods_the_console_still_meets_its_deadline() -> None:
    class Flood(MemoryTransport):
        def read(self, size: int, timeout_s: float) -> bytes:
            self.now += 0.001
            return b"a" * size if self.sent else super().read(size, timeout_s)

    transport = Flood(FakeAgent(lambda request: None))
    console = Console(transport, LINUX_PANICS)
    channel = Channel(console)
    channel.hello(10.0)

    with pytest.raises(GuestHung) as caught:
        channel.request(b"abc", timeout_s=0.1)

    assert len(caught.value.console) < 200 * 501 + 8192


def test_a_request_that_is_too_long_is_refused() -> None:
    channel, agent, _ = greeted()

    with pytest.raises(ProtocolError, match="longer"):
        channel.request(bytes(MAX_MESSAGE + 1), timeout_s=5)

    assert agent.requests == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (encode_line("<", 1, 3, 2, "QUJD"), "impossible"),
        (encode_line("<", 1, 0, 0, "QUJD"), "impossible"),
        (encode_line("<", 1, 0, 0xFFF, "QUJD"), "longer"),
        (encode_line("<", 1, 0, 1, "QUJ"), "base64"),
    ],
)
def test_a_sound_line_that_makes_no_sense_is_a_protocol_error(line: bytes, complaint: str) -> None:
    channel, agent, _ = greeted(lambda request: None)
    agent.asides = line

    with pytest.raises(ProtocolError, match=complaint):
        channel.request(b"abc", timeout_s=5)


def test_lines_that_disagree_about_the_length_are_a_protocol_error() -> None:
    channel, agent, _ = greeted(lambda request: None)
    agent.asides = encode_line("<", 1, 0, 3, "QUJD") + encode_line("<", 1, 1, 2, "QUJD")

    with pytest.raises(ProtocolError, match="disagree"):
        channel.request(b"abc", timeout_s=5)


def test_sequence_numbers_wrap_past_the_hello() -> None:
    channel, _, transport = greeted()
    channel._sequence = 0xFFFE

    answers = [channel.request(b"abc", timeout_s=1) for _ in range(3)]

    assert answers == [b"abc"] * 3
    assert [line[2:6] for line in transport.sent] == [b"ffff", b"0001", b"0002"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_damage_never_yields_a_wrong_answer(data: st.DataObject) -> None:
    faults = data.draw(st.lists(st.sampled_from([flip, lose, interrupt, split_marker, None]), max_size=12))
    remaining = iter(faults)

    def damaged(line: bytes) -> bytes:
        fault = next(remaining, None)
        return fault(line) if fault else line

    channel, _, _ = connected(to_host=damaged, chunk=data.draw(st.integers(1, 3000)))
    try:
        hello = channel.hello(60.0)
        answer = channel.request(b"z" * 3000, timeout_s=60)
    except (ProtocolError, GuestHung):
        return

    assert (hello, answer) == (b"fake agent", b"z" * 3000)
