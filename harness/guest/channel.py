"""Requests to the agent and its answers, as bytes, over a console that loses and mixes lines.

A damaged line is asked for again and never guessed at. Where a line was lost without a trace (the
kernel printed into its marker), only silence tells: the channel asks after silence too, and once when
half of the time of a request is over, so that a lost line is not taken for a hang of the kernel. An
agent that is still busy finds such a question later and sends an answer twice; what is left over is
known by its sequence number.

Where there is a mailbox (see `harness.guest.mailbox`), requests and answers lie there, and the console carries a bell.
Everything else stays as it is: an answer that does not fit comes over the console, a lost bell is found out by looking,
and the agent that is asked again repeats itself on the console.

A deadline is put off by the time that the machine wanted a CPU of the host and had none: that is no silence of the guest's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.errors import GuestDied, ProtocolError
from harness.guest.console import Console
from harness.guest.frames import (
    HELLO,
    LINE_PAYLOAD,
    MAX_MESSAGE,
    MAX_SEQUENCE,
    NEVER_SEEN,
    RING,
    UNREADABLE,
    Control,
    Damaged,
    Frame,
    decode_line,
    decode_payload,
    encode_message,
)
from harness.guest.mailbox import Mailbox, MailboxLost, Notice
from harness.guest.starved import Starvation

MAX_RETRIES = 5  # of one request, and of one answer
FIRST_PATIENCE_S = 0.5  # silence after evidence of damage; doubles with each question
_MAX_LINES = MAX_MESSAGE * 4 // 3 // LINE_PAYLOAD + 2
_STRAY_S = 0.05
_POLL_S = 0.002  # how long to read the mailbox all the time, where the agent has shown something twice already
_LOOK_S = 0.25  # how often to look into the mailbox, in case that its bell was lost
_LONG_S = 0.25  # after so long it is noted what the machine loses; most answers are there before that is worth its cost


@dataclass
class _Exchange:
    """What is known of one message that is on its way from the guest."""

    sequence: int
    deadline: float
    half_time: float
    began: float = 0.0
    granted: float = 0.0  # seconds by which the deadline was put off
    pieces: dict[int, bytes] = field(default_factory=dict)
    total: int | None = None
    asked: int = 0
    waiting_for_resend: bool = False
    suspicious: bool = False  # something of it was damaged
    progressed: float = 0.0  # when something of it came last
    looks: int = 0  # that the agent has asked for

    @property
    def complete(self) -> bool:
        return self.total is not None and len(self.pieces) == self.total


class Channel:
    """One agent behind one console, with or without a `mailbox` beside it."""

    def __init__(self, console: Console, starvation: Starvation | None = None) -> None:
        self._console = console
        self._starvation = starvation
        self._is_marked = False
        self._sequence = 0
        self._spare_hellos = 0  # that were asked for, beside the first
        self._lines: list[bytes] = []  # of the request in flight
        self._next_line = 0
        self._restarts = 0
        self._step: int | None = None
        self._posted = False  # whether the request in flight lies in the mailbox
        self.mailbox: Mailbox | None = None
        self.on_notice: Callable[[Notice], bool] | None = None

    @property
    def last_step(self) -> int | None:
        """The step that the agent reported last in this request."""
        if self._posted and self._step is None and self.mailbox is not None:
            return self.mailbox.step
        return self._step

    @property
    def starved_s(self) -> float:
        """How long in the last request, had it lasted long, the machine wanted a CPU of the host and had none."""
        return self._starvation.seconds() if self._starvation is not None and self._is_marked else 0.0

    def hello(self, deadline: float) -> bytes:
        """Wait for the agent's first words; `deadline` is a time of the console's clock."""
        self._lines = []
        return self._receive(self._expect(HELLO, deadline))

    def request(self, payload: bytes, *, timeout_s: float) -> bytes:
        """Send `payload`, and return the answer to it.

        Raises GuestHung, GuestDied or GuestPanicked for the guest's trouble, with the console's tail;
        ProtocolError where a message is too long or stays damaged.
        """
        if len(payload) > MAX_MESSAGE:
            raise ProtocolError(f"a request of {len(payload)} bytes is longer than the protocol's {MAX_MESSAGE}")
        self._step = None
        self._sequence = self._sequence % MAX_SEQUENCE + 1
        self._lines = encode_message(">", self._sequence, payload)
        self._restarts = 0
        exchange = self._expect(self._sequence, self._console.clock() + timeout_s)
        self._posted = self._post(payload, exchange)
        if not self._posted:
            self._send_line(0, exchange)
        answer = self._receive(exchange)
        self._look_for_strays()
        return answer

    def _expect(self, sequence: int, deadline: float) -> _Exchange:
        now = self._console.clock()
        self._is_marked = False
        return _Exchange(sequence, deadline, half_time=(now + deadline) / 2, began=now, progressed=now)

    def _post(self, payload: bytes, exchange: _Exchange) -> bool:
        """Lay the request into the mailbox; whether that was possible."""
        if self.mailbox is None or not self.mailbox.fits(payload):
            return False
        try:
            is_asleep = self.mailbox.post(exchange.sequence, payload)
        except MailboxLost:
            self.mailbox = None
            return False
        if is_asleep:
            self._console.send(RING + b"\n", deadline=exchange.deadline)
        self._next_line = len(self._lines)  # nothing is left to be sent
        return True

    def _obey(self, exchange: _Exchange) -> None:
        """Look at what the agent shows, if it does; and where it shows one thing after the other, at the next ones too."""
        while (mailbox := self.mailbox) is not None and (notice := mailbox.notice()) is not None:
            differs = self.on_notice is not None and self.on_notice(notice)
            exchange.looks += 1
            is_more_to_come = exchange.looks > 1
            mailbox.polls(is_more_to_come)
            if mailbox.looked(notice, differs):
                self._console.send(RING + b"\n", deadline=exchange.deadline)
            if is_more_to_come:
                self._poll(mailbox, exchange)

    def _poll(self, mailbox: Mailbox, exchange: _Exchange) -> None:
        """Read the mailbox until something is there, for a while: a bell takes longer than what most steps do."""
        end = time.perf_counter() + _POLL_S
        while mailbox.notice() is None and mailbox.answer(exchange.sequence) is None and time.perf_counter() < end:
            os.sched_yield()
        mailbox.polls(False)

    def _look(self, exchange: _Exchange) -> bytes | None:
        """Return the answer that lies in the mailbox."""
        if not self._posted or self.mailbox is None:
            return None
        try:
            return self.mailbox.answer(exchange.sequence)
        except MailboxLost:
            self.mailbox = None
            exchange.suspicious = True  # so it is asked for over the console
            exchange.progressed = self._console.clock()
            return None

    def _receive(self, exchange: _Exchange) -> bytes:
        while not exchange.complete:
            self._obey(exchange)
            answer = self._look(exchange)
            if answer is not None:
                return answer
            if self._console.clock() >= exchange.deadline and not self._put_off(exchange):
                raise self._hung(exchange)
            question = self._next_question(exchange)
            line = self._console.read_line(deadline=min(self._next_look(exchange), question))
            if line is not None:
                self._take(line, exchange)
            elif self._console.clock() >= question:
                self._on_silence(exchange)
        message = decode_payload([exchange.pieces[index] for index in sorted(exchange.pieces)])
        if message is None:
            raise ProtocolError("an answer is no base64 text", evidence=exchange.pieces[0])
        return message

    def _put_off(self, exchange: _Exchange) -> bool:
        """Give the guest the time that its machine has lost; whether it had lost any since that was asked last."""
        lost = self.starved_s - exchange.granted
        exchange.granted += lost
        exchange.deadline += lost
        return self._console.clock() < exchange.deadline

    def _next_look(self, exchange: _Exchange) -> float:
        """When to stop listening to the console for a while; begin to note what the machine loses, once that is due."""
        now = self._console.clock()
        if self._starvation is not None and not self._is_marked:
            if now < exchange.began + _LONG_S:
                return exchange.began + _LONG_S
            self._starvation.mark()
            self._is_marked = True
        return now + _LOOK_S if self._posted else exchange.deadline

    def _next_question(self, exchange: _Exchange) -> float:
        """When silence is worth a question."""
        times = [exchange.deadline]
        if exchange.half_time > self._console.clock():
            times.append(exchange.half_time)
        if exchange.suspicious or exchange.pieces or self._next_line < len(self._lines):
            tries = exchange.asked + self._restarts
            times.append(exchange.progressed + FIRST_PATIENCE_S * 2**tries)
        return min(times)

    def _on_silence(self, exchange: _Exchange) -> None:
        now = self._console.clock()
        if now >= exchange.deadline:
            return
        exchange.progressed = now
        if self._next_line < len(self._lines):
            self._restart(exchange)
        else:
            self._ask_again(exchange)

    def _take(self, line: bytes, exchange: _Exchange) -> None:
        """Sort one line: part of the answer, a word about a line, or log."""
        decoded, log = decode_line(line)
        if log:
            self._console.log(log)  # may end in GuestPanicked
        if isinstance(decoded, Damaged):
            self._on_damage(exchange)
        elif isinstance(decoded, Frame):
            self._on_frame(decoded, line, exchange)
        elif isinstance(decoded, Control):
            self._on_control(decoded, exchange)

    def _on_damage(self, exchange: _Exchange) -> None:
        exchange.suspicious = True
        exchange.progressed = self._console.clock()
        if not exchange.waiting_for_resend:
            self._ask_again(exchange)

    def _on_frame(self, frame: Frame, line: bytes, exchange: _Exchange) -> None:
        if frame.sequence == HELLO != exchange.sequence:
            self._on_late_hello(frame)
            return
        if frame.sequence != exchange.sequence:
            return  # left over from a question that crossed with its answer
        self._check_place(frame, line, exchange)
        self._next_line = len(self._lines)  # who answers has the whole request
        exchange.progressed = self._console.clock()
        exchange.total = frame.total
        exchange.pieces[frame.index] = frame.payload
        if frame.index == 0:
            exchange.waiting_for_resend = False
        if frame.index == frame.total - 1 and not exchange.complete and not exchange.waiting_for_resend:
            self._ask_again(exchange)

    def _check_place(self, frame: Frame, line: bytes, exchange: _Exchange) -> None:
        if frame.index >= frame.total:
            raise ProtocolError("a line of an answer has an impossible number", evidence=line)
        if exchange.total not in (None, frame.total):
            raise ProtocolError("two lines of one answer disagree about its length", evidence=line)
        if frame.total > _MAX_LINES:
            raise ProtocolError(f"an answer is longer than the protocol's {MAX_MESSAGE} bytes", evidence=line)

    def _on_late_hello(self, frame: Frame) -> None:
        """Tell a second start of the agent from a hello that was asked for twice."""
        if self._spare_hellos > 0:
            self._spare_hellos -= frame.index == frame.total - 1
            return
        raise GuestDied("the guest rebooted or restarted while it had a request", console=self._console.tail())

    def _on_control(self, control: Control, exchange: _Exchange) -> None:
        if control.kind == b"~":
            if control.sequence == exchange.sequence:
                self._step = control.number
            return
        if control.kind == b"+":
            if (control.sequence, control.number) == (exchange.sequence, self._next_line - 1):
                self._send_line(self._next_line, exchange)
            return
        if control.sequence in (exchange.sequence, UNREADABLE) or control.number == NEVER_SEEN:
            self._restart(exchange)

    def _send_line(self, index: int, exchange: _Exchange) -> None:
        if index >= len(self._lines):
            return
        self._next_line = index + 1
        exchange.progressed = self._console.clock()
        self._console.send(self._lines[index], deadline=exchange.deadline)

    def _restart(self, exchange: _Exchange) -> None:
        """Send the request again from its first line."""
        if not self._lines:
            return
        self._restarts += 1
        if self._restarts > MAX_RETRIES:
            raise ProtocolError(f"a request reached the guest damaged {self._restarts} times")
        self._send_line(0, exchange)

    def _ask_again(self, exchange: _Exchange) -> None:
        exchange.asked += 1
        if exchange.asked > MAX_RETRIES:
            raise ProtocolError(f"an answer came damaged {exchange.asked} times")
        exchange.waiting_for_resend = True
        if exchange.sequence == HELLO:
            self._spare_hellos += 1
        self._console.send(b"@?%04x\n" % exchange.sequence, deadline=exchange.deadline)

    def _look_for_strays(self) -> None:
        """Read what has come already: a warning that followed the answer belongs to this request."""
        now = self._console.clock()
        while self._console.clock() < now + _STRAY_S:
            line = self._console.read_line(deadline=now)
            if line is None:
                break
            self._take_stray(line)

    def _take_stray(self, line: bytes) -> None:
        decoded, log = decode_line(line)
        if log:
            self._console.log(log)
        if isinstance(decoded, Frame) and decoded.sequence == HELLO:
            self._on_late_hello(decoded)

    def _hung(self, exchange: _Exchange) -> Exception:
        if exchange.sequence == HELLO:
            return self._console.hung("the agent in the guest never said hello")
        if self._next_line < len(self._lines):
            return self._console.hung(f"the guest took {self._next_line - 1} of {len(self._lines)} lines")
        step = f" (its last word was that step {self.last_step} begins)" if self.last_step is not None else ""
        return self._console.hung(f"the guest gave no answer in time{step}")
