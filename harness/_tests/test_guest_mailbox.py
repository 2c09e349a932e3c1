"""The mailbox, with a twin of the agent that keeps it in the memory of a machine that is not there."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator

import pytest

from harness.errors import GuestPanicked
from harness.guest.channel import Channel
from harness.guest.console import Console
from harness.guest.definition import LINUX_PANICS
from harness.guest.frames import BELL, RING
from harness.guest.mailbox import ROOM, Mailbox, MailboxLost, Notice
from harness.guest.memory_transport import FakeAgent, Line, MemoryTransport
from harness.guest.ram import PAGE_SIZE, GuestRam

MARK = bytes(range(16))
STAMP = bytes(255 - byte for byte in MARK)
PLACES = [70, 12, 13, 4000, 9]
"""Page numbers of the mailbox: the words, two pages for requests, two for answers."""
WORDS = struct.Struct("<6I")  # state, request, its length, answer, its length, step
ASLEEP = 1
ANSWER, SHOWN, LOOKED, COUNT, POLLS, DIFFERS = (8 + at for at in (3, 6, 7, 9, 10, 11))
"""Words of the first page, by number."""


class BoxAgent(FakeAgent):
    """Wakes at a bell, and answers where it was asked; `step` is what it announces first."""

    def __init__(self, ram: GuestRam, reply: Callable[[bytes], bytes | None]) -> None:
        super().__init__(self._remembering(reply))
        self.ram = ram
        self.places = list(PLACES)
        self.step: int | None = None
        self.lie_about_length: int | None = None
        self.before_bell: Callable[[], None] | None = None  # what the kernel does while the program runs
        self._taken = 0
        for index, place in enumerate(PLACES):
            self.mark(place, index)
        self._write_words(ASLEEP, 0, 0, 0, 0, 0)

    def mark(self, place: int, index: int) -> None:
        self.ram.bytes[place * PAGE_SIZE : place * PAGE_SIZE + 32] = STAMP + struct.pack("<I12x", index)

    def move(self, old: int, new: int, *, leaves: bytes | None = None) -> None:
        """Move a page, as a kernel does; where it lay, `leaves` is then, or its bytes."""
        was = bytes(self.ram.bytes[old * PAGE_SIZE : (old + 1) * PAGE_SIZE])
        self.ram.bytes[new * PAGE_SIZE : (new + 1) * PAGE_SIZE] = was
        self.ram.bytes[old * PAGE_SIZE : (old + 1) * PAGE_SIZE] = was if leaves is None else leaves
        self.places[self.places.index(old)] = new

    def _part_of(self, place: int) -> memoryview:
        at = place * PAGE_SIZE + 20
        return memoryview(self.ram.bytes)[at : at + 4].cast("I")

    def hear(self, line: bytes) -> list[bytes]:
        return self._look() if line == RING else super().hear(line)

    def _words(self) -> list[int]:
        return list(WORDS.unpack_from(self.ram.bytes, self.places[0] * PAGE_SIZE + 32))

    def _write_words(self, *words: int) -> None:
        WORDS.pack_into(self.ram.bytes, self.places[0] * PAGE_SIZE + 32, *words)

    def _look(self) -> list[bytes]:
        _, sequence, length, *_ = self._words()
        if sequence == self._taken:
            return []
        if any(self._part_of(place)[0] != sequence for place in self.places[1 : 1 + (length + ROOM - 1) // ROOM]):
            self._taken = sequence  # a page of it is missing: never seen
            return []
        starts = [place * PAGE_SIZE + 32 for place in self.places[1:3]]
        request = b"".join(self.ram.bytes[start : start + ROOM] for start in starts)[:length]
        self._pieces = [base64.b64encode(request)]
        lines = self._serve(sequence)
        self._taken = self._sequence = sequence
        step = 0 if self.step is None else self.step + 1
        said = self._said
        if said is None or len(said) > 2 * ROOM:
            self._write_words(ASLEEP, sequence, length, 0, 0, step)
            return lines
        for at, place in zip(range(0, len(said), ROOM), self.places[3:], strict=False):
            piece = said[at : at + ROOM]
            self.ram.bytes[place * PAGE_SIZE + 32 : place * PAGE_SIZE + 32 + len(piece)] = piece
            self._part_of(place)[0] = sequence
        if self.before_bell is not None:
            self.before_bell()
        self._write_words(ASLEEP, sequence, length, sequence, self.lie_about_length or len(said), step)
        return [BELL + b"\n"]

    def _remembering(self, reply: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
        def remember(request: bytes) -> bytes | None:
            self._said = reply(request)
            return self._said

        return remember


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    ram = GuestRam("x86_64", 32)
    yield ram
    ram.close()


Setup = tuple[Channel, BoxAgent, MemoryTransport]


def connected(
    ram: GuestRam,
    reply: Callable[[bytes], bytes | None] = lambda request: request[::-1],
    *,
    to_host: Line = lambda line: line,
    to_guest: Line = lambda line: line,
) -> Setup:
    agent = BoxAgent(ram, reply)
    transport = MemoryTransport(agent, to_host=to_host, to_guest=to_guest)
    channel = Channel(Console(transport, LINUX_PANICS))
    channel.hello(10.0)
    channel.mailbox = Mailbox(ram, MARK, 2, 2)
    return channel, agent, transport


@pytest.mark.parametrize("length", [0, 1, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM])
def test_a_request_and_its_answer_lie_in_memory_and_the_console_only_rings(ram: GuestRam, length: int) -> None:
    channel, _, transport = connected(ram)
    request = bytes(i * 7 & 0xFF for i in range(length))

    answers = [channel.request(request, timeout_s=1) for _ in range(2)]

    assert answers == [request[::-1]] * 2
    assert transport.sent == [RING + b"\n"] * 2


def test_what_does_not_fit_goes_over_the_console(ram: GuestRam) -> None:
    channel, agent, _ = connected(ram, lambda request: request * 3)

    long_answer = channel.request(b"a" * ROOM, timeout_s=1)
    long_request = channel.request(b"b" * 3 * ROOM, timeout_s=1)

    assert (long_answer, long_request) == (b"a" * 3 * ROOM, b"b" * 9 * ROOM)
    assert agent.requests == [b"a" * ROOM, b"b" * 3 * ROOM]


class ShowingAgent(BoxAgent):
    """Shows something four times, each when it is rung for after our look at the last, and then answers; it never rings.
    `polled` is whether it was told, each time, that it need not.
    """

    def _look(self) -> list[bytes]:
        if self.requests:  # this is the bell after a look
            self._show()
            return []
        super()._look()
        words = self._words()
        self._answer, words[3] = words[3], 0
        self._write_words(*words)
        self.polled: list[int] = []
        self.told: list[int] = []
        self._show()
        return []

    def _show(self) -> None:
        self.polled.append(self.cell(POLLS))
        self.told.append(self.cell(DIFFERS))
        if self.cell(LOOKED) == 4:
            self._set(ANSWER, self._answer)
            return
        self._set(COUNT, 1)
        self._set(SHOWN, len(self.polled))

    def cell(self, word: int) -> int:
        return self.ram.cells[self.places[0] * PAGE_SIZE // 4 + word]

    def _set(self, word: int, value: int) -> None:
        self.ram.cells[self.places[0] * PAGE_SIZE // 4 + word] = value


def test_an_agent_that_shows_one_thing_after_the_other_is_watched_and_need_not_ring(ram: GuestRam) -> None:
    agent = ShowingAgent(ram, lambda request: request[::-1])
    transport = MemoryTransport(agent)
    channel = Channel(Console(transport, LINUX_PANICS))
    channel.hello(10.0)
    channel.mailbox = Mailbox(ram, MARK, 2, 2)
    looks: list[int] = []

    def look(notice: Notice) -> bool:
        looks.append(notice.after)
        return len(looks) == 2

    channel.on_notice = look

    answer = channel.request(b"abc", timeout_s=20)

    assert (answer, len(looks)) == (b"cba", 4)
    assert agent.polled == [0, 0, 1, 1, 1]
    assert agent.told == [0, 0, 1, 0, 0]  # what the second look saw is another thing
    assert not agent.cell(POLLS)
    assert transport.now == 0


def test_who_looks_too_long_learns_that_the_agent_has_gone_on_and_lets_it_wait_for_the_next_look(ram: GuestRam) -> None:
    agent = ShowingAgent(ram, lambda request: request[::-1])
    box = Mailbox(ram, MARK, 2, 2)
    agent._set(COUNT, 1)
    agent._set(SHOWN, 1)
    first = box.notice()
    assert first is not None
    assert first.stands()

    agent._set(COUNT, 0)  # its patience is at its end
    assert not first.stands()
    agent._set(COUNT, 1)
    agent._set(SHOWN, 2)
    assert not first.stands()
    box.looked(first, differs=False)

    second = box.notice()
    assert second is not None
    assert (second.number, second.stands(), agent.cell(LOOKED)) == (2, True, 1)


def test_an_answer_whose_bell_is_lost_is_found_by_looking(ram: GuestRam) -> None:
    channel, agent, transport = connected(ram, to_host=lambda line: b"" if line.startswith(BELL) else line)

    assert channel.request(b"abc", timeout_s=20) == b"cba"
    assert transport.now < 1
    assert agent.requests == [b"abc"]


def test_a_request_whose_bell_is_lost_is_sent_over_the_console(ram: GuestRam) -> None:
    channel, agent, _ = connected(ram, to_guest=lambda line: b"" if line.startswith(RING) else line)

    assert channel.request(b"abc", timeout_s=20) == b"cba"
    assert agent.requests == [b"abc"]


def test_an_agent_that_is_awake_is_not_rung_for(ram: GuestRam) -> None:
    channel, _, _ = connected(ram)
    assert channel.mailbox is not None
    ram.bytes[70 * PAGE_SIZE + 32] = 0

    assert not channel.mailbox.post(1, b"abc")


def test_a_page_that_the_kernel_moved_is_found_again(ram: GuestRam) -> None:
    channel, agent, transport = connected(ram)
    channel.request(b"abc", timeout_s=1)
    for old, new in ((70, 71), (4000, 30)):
        ram.bytes[new * PAGE_SIZE : (new + 1) * PAGE_SIZE] = ram.bytes[old * PAGE_SIZE : (old + 1) * PAGE_SIZE]
        ram.bytes[old * PAGE_SIZE : (old + 1) * PAGE_SIZE] = bytes(PAGE_SIZE)
        agent.places[agent.places.index(old)] = new

    assert channel.request(b"def", timeout_s=1) == b"fed"
    assert transport.sent == [RING + b"\n"] * 2


@pytest.mark.parametrize("old", [70, 4000])
def test_a_page_that_is_moved_while_the_program_runs_is_found_again(ram: GuestRam, old: int) -> None:
    channel, agent, transport = connected(ram)
    agent.before_bell = lambda: agent.move(old, 31, leaves=b"W\0\0\0" * (PAGE_SIZE // 4))

    assert channel.request(b"abc", timeout_s=20) == b"cba"
    assert transport.sent == [RING + b"\n"]


@pytest.mark.parametrize("old", [12, 4000])
def test_what_a_moved_page_left_behind_is_not_taken_for_the_page(ram: GuestRam, old: int) -> None:
    channel, agent, _ = connected(ram)
    channel.request(b"abc", timeout_s=1)
    agent.move(old, 31)

    assert channel.request(b"def", timeout_s=20) == b"fed"
    assert agent.requests[-1] == b"def"


def test_nothing_is_written_to_a_page_that_is_no_longer_the_mailbox(ram: GuestRam) -> None:
    channel, agent, transport = connected(ram)
    theirs = b"another's" + bytes(PAGE_SIZE - 9)
    ram.bytes[12 * PAGE_SIZE : 13 * PAGE_SIZE] = theirs

    assert channel.request(b"abc", timeout_s=1) == b"cba"
    assert bytes(ram.bytes[12 * PAGE_SIZE : 13 * PAGE_SIZE]) == theirs
    assert transport.sent[0].startswith(b"@>")
    assert agent.requests == [b"abc"]


def test_a_page_that_is_missing_or_there_twice_is_no_mailbox(ram: GuestRam) -> None:
    agent = BoxAgent(ram, lambda request: request)
    agent.mark(500, 3)
    with pytest.raises(MailboxLost, match="page 3 of the mailbox is in memory twice"):
        Mailbox(ram, MARK, 2, 2)
    ram.bytes[500 * PAGE_SIZE] ^= 1

    with pytest.raises(MailboxLost, match="of 6 pages of the mailbox 5 are in memory"):
        Mailbox(ram, MARK, 2, 3)
    with pytest.raises(MailboxLost, match="offers 0 and 3"):
        Mailbox(ram, MARK, 0, 3)


def test_an_impossible_length_is_not_believed(ram: GuestRam) -> None:
    channel, agent, _ = connected(ram)
    agent.lie_about_length = 0xFFFF_FFFF

    assert channel.request(b"abc", timeout_s=20) == b"cba"  # asked for again, over the console


def test_the_step_that_begins_is_known_without_a_word(ram: GuestRam) -> None:
    channel, agent, transport = connected(ram, lambda request: None)
    agent.step = 4
    agent.asides = b"Kernel panic - not syncing: test\n"

    with pytest.raises(GuestPanicked):
        channel.request(b"abc", timeout_s=1)

    assert channel.last_step == 4
    assert transport.sent == [RING + b"\n"]
