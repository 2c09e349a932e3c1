"""Messages through the guest's RAM: pages of the agent that the host reads and writes; the console only rings the bell.

The layout stands in fixtures/agent/mailbox.h. The host chooses a random mark, the agent writes its complement into each
page of the mailbox, and the pages are looked for in RAM: that needs nothing of the kernel, and no copy of the agent's file
or of the message is taken for the mailbox. A kernel may move a page, at any time: Linux does where memory is short. So the
marks of the pages are checked before each write and after each read, and where one is gone they are looked for again; and
each page of a message bears its sequence number, for what a page leaves behind where it lay still has its mark. What goes
wrong is mended by the console: see `channel`.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.guest.ram import PAGE_SIZE, GuestRam

MARK = 16
_HEAD = 32
ROOM = PAGE_SIZE - _HEAD
"""Bytes of a message in each page."""
SPINS = 20_000
"""How often the agent looks for the next request before it sleeps."""
_STATE, _REQUEST, _REQUEST_LENGTH, _ANSWER, _ANSWER_LENGTH, _STEP, _SHOWN, _LOOKED, _AFTER, _COUNT, _POLLS, _DIFFERS = (
    range(_HEAD // 4, _HEAD // 4 + 12)
)
_LIST = _HEAD // 4 + 12  # where the first worker is, and how far the next; then the processes
_WORKERS = struct.Struct("<QQ")  # where the first worker has its identity, and how far the next is
_PROCESS = struct.Struct("<QII")  # identity, slot, birth
_INDEX, _PART_OF = MARK // 4, MARK // 4 + 1  # words in the head of a page: which it is, and of which message
_MOST_PROCESSES = 16
_ASLEEP = 1
_MOST_PAGES = 4096
SETTLING = 0xFFFF_FFFF
"""In place of the steps done: the agent sees no counts, and asks whether those that we see are still."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The agent's request to look at its processes, which stand still until it is answered.

    `after` steps are done. The process in `slot` has its `identity` (u64) at the virtual address `first` + slot × `stride`.
    `processes` are (identity, slot, birth); births are in the order in which the processes came to be.

    An agent does not wait for ever. `stands` tells whether it still does, and for notice `number`: who has looked and finds
    that it does not has seen processes that ran.
    """

    after: int
    first: int
    stride: int
    processes: tuple[tuple[int, int, int], ...]
    number: int = 0
    stands: Callable[[], bool] = field(default=lambda: True, compare=False)


class MailboxLost(Exception):
    """The pages of the mailbox are not, or no longer, to be found."""


class Mailbox:
    """The mailbox of one agent. `request_pages` and `answer_pages` are the agent's words about its size."""

    def __init__(self, ram: GuestRam, mark: bytes, request_pages: int, answer_pages: int) -> None:
        """Look for the pages that the agent marked; MailboxLost where one is missing, or there twice."""
        if not 0 < request_pages + answer_pages < _MOST_PAGES or not request_pages or not answer_pages:
            raise MailboxLost(f"the agent offers {request_pages} and {answer_pages} pages")
        self._ram = ram
        self._stamp = bytes(~byte & 0xFF for byte in mark)
        self._cells = ram.cells
        self._request_pages = request_pages
        self._answer_pages = answer_pages
        self._pages: Sequence[int] = self._find()

    def fits(self, message: bytes) -> bool:
        """Whether `message` is short enough for a request."""
        return len(message) <= self._request_pages * ROOM

    def post(self, sequence: int, message: bytes) -> bool:
        """Lay a request into the mailbox; whether the agent sleeps, and needs to be rung for.

        Raises MailboxLost; nothing was written then.
        """
        if not all(self._is_marked(number, index) for index, number in enumerate(self._pages)):
            self._pages = self._find()
        for at in range(0, len(message), ROOM):
            place = self._pages[1 + at // ROOM] * PAGE_SIZE + _HEAD
            piece = message[at : at + ROOM]
            self._ram.bytes[place : place + len(piece)] = piece
            self._cells[(place - _HEAD) // 4 + _PART_OF] = sequence
        words = self._pages[0] * PAGE_SIZE // 4
        self._cells[words + _STEP] = 0
        self._cells[words + _REQUEST_LENGTH] = len(message)
        self._cells[words + _REQUEST] = sequence
        return self._cells[words + _STATE] == _ASLEEP

    def answer(self, sequence: int) -> bytes | None:
        """Return the answer to the request `sequence`; None where it is not there, or makes no sense.

        Raises MailboxLost where a page is no longer to be found.
        """
        if not self._is_marked(self._pages[0], 0):
            self._pages = self._find()
        words = self._pages[0] * PAGE_SIZE // 4
        if self._cells[words + _ANSWER] != sequence:
            return None
        length = self._cells[words + _ANSWER_LENGTH]
        if length > self._answer_pages * ROOM:
            return None
        parts = self._parts(length, sequence)
        if parts is None:
            self._pages = self._find()
            parts = self._parts(length, sequence)
        if parts is None:
            raise MailboxLost("a page of an answer is part of another message")
        return parts

    def _parts(self, length: int, sequence: int) -> bytes | None:
        """Read an answer of `length` bytes; None where one of its pages is not, or not any more, what it should be."""
        first = 1 + self._request_pages
        indices = range(first, first + (length + ROOM - 1) // ROOM)
        starts = [self._pages[index] * PAGE_SIZE + _HEAD for index in indices]
        answer = b"".join(self._ram.bytes[start : start + ROOM] for start in starts)[:length]
        is_whole = all(self._is_part(self._pages[index], index, sequence) for index in indices)
        return answer if is_whole else None

    def _is_part(self, number: int, index: int, sequence: int) -> bool:
        return self._is_marked(number, index) and self._cells[number * PAGE_SIZE // 4 + _PART_OF] == sequence

    def notice(self) -> Notice | None:
        """Return what the agent wants to be looked at, until `looked` says that it was."""
        words = self._pages[0] * PAGE_SIZE // 4
        shown, count = self._cells[words + _SHOWN], self._cells[words + _COUNT]
        if shown == self._cells[words + _LOOKED] or not 0 < count <= _MOST_PROCESSES:
            return None
        at = (words + _LIST) * 4
        first, stride = _WORKERS.unpack_from(self._ram.bytes, at)
        at += _WORKERS.size
        entries = self._ram.bytes[at : at + count * _PROCESS.size]

        def stands() -> bool:
            return (self._cells[words + _SHOWN], self._cells[words + _COUNT]) == (shown, count)

        processes = tuple(_PROCESS.iter_unpack(entries))
        return Notice(self._cells[words + _AFTER], first, stride, processes, shown, stands)

    def looked(self, notice: Notice, differs: bool) -> bool:
        """Let the agent go on, and know whether what was seen `differs` from the look before; see SETTLING.

        Gives whether it sleeps, and needs to be rung for. An agent that has gone on, and shows the next thing, is not told
        that this was looked at.
        """
        words = self._pages[0] * PAGE_SIZE // 4
        self._cells[words + _DIFFERS] = differs
        self._cells[words + _LOOKED] = notice.number
        return self._cells[words + _STATE] == _ASLEEP

    def polls(self, does: bool) -> None:
        """Say whether we read the mailbox all the time: then the agent does not ring. To be said before `looked`."""
        self._cells[self._pages[0] * PAGE_SIZE // 4 + _POLLS] = does

    @property
    def step(self) -> int | None:
        """The step that the agent said begins, in the request that it works on."""
        step = self._cells[self._pages[0] * PAGE_SIZE // 4 + _STEP]
        return step - 1 if step else None

    def _is_marked(self, number: int, index: int) -> bool:
        at = number * PAGE_SIZE
        return self._ram.bytes[at : at + MARK] == self._stamp and self._cells[at // 4 + _INDEX] == index

    def _find(self) -> list[int]:
        first_word = int.from_bytes(self._stamp[:8], "little")
        found: dict[int, int] = {}
        for pages in self._ram.used_pages():
            words = self._ram.words[pages.start * 512 : pages.stop * 512 : 512].tolist()
            for number in (page for page, word in zip(pages, words, strict=True) if word == first_word):
                index = self._cells[number * 1024 + _INDEX]
                if not self._is_marked(number, index):
                    continue
                if index in found:
                    raise MailboxLost(f"page {index} of the mailbox is in memory twice")
                found[index] = number
        count = 1 + self._request_pages + self._answer_pages
        if sorted(found) != list(range(count)):
            raise MailboxLost(f"of {count} pages of the mailbox {len(found)} are in memory")
        return [found[index] for index in range(count)]


def new_mark() -> bytes:
    """Return a mark for a mailbox that nobody has used before."""
    return secrets.token_bytes(MARK)
