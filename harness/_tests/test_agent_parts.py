"""Parts of the agent in C, built for this machine: its console is a pipe, and no kernel is at risk."""

from __future__ import annotations

import platform
import shlex
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from harness._tests.fake_agent import ALL_ONES, leb
from harness.agent.codec import Field, Source, View, decode_view, encode_view
from harness.agent.codec import Reader as Bytes
from harness.errors import ToolMissing
from harness.guest.agent_build import find_compiler
from harness.guest.frames import Control, Frame, decode_line, decode_payload, encode_line, encode_message

AGENT = Path(__file__).parents[2] / "fixtures" / "agent"
SOURCES = (
    *("_tests/parts.c", "view.c", "frames.c", "quiesce.c", "accounting.c"),
    *("bytes.c", "pipes.c", "wire.c", "mailbox.c", "sys.c", "arch/x86_64/entry.S", "subject.S"),
)
FLAGS = shlex.split("""
    -std=gnu11 -O1 -ffreestanding -fno-stack-protector -fno-pic -fno-pie -fno-builtin -fno-strict-aliasing
    -fno-asynchronous-unwind-tables -fcf-protection=none -mgeneral-regs-only -Wall -Wextra -Werror -I. -Iarch/x86_64
    -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-T,agent.ld
    -DNUMBER=0 -DTEXT_PAGES=2 -DDATA_BYTES=16384 -DMEMORY_BYTES=32768
""")
PATIENCE_S = 60.0  # for a machine under load; nothing here waits for time to pass


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("the agent's parts run on Linux on x86-64 only")
    try:
        compiler = find_compiler("x86_64").split()
    except ToolMissing as error:
        pytest.skip(str(error))
    target = tmp_path_factory.mktemp("parts") / "parts"
    command = [*compiler, *FLAGS, "-o", str(target), *SOURCES]
    done = subprocess.run(command, cwd=AGENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(parts: Path, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run([parts, *arguments], input=given, capture_output=True, check=False, timeout=PATIENCE_S)
    return done.stdout


def console(parts: Path, *lines: bytes, mode: str = "echo") -> list[bytes]:
    """Say `lines` on the console, and give what comes back after the hello, up to the words for why it went away."""
    *said, last = run(parts, mode, given=b"".join(lines)).splitlines(keepends=True)
    assert last == b"pagepact agent: the console ends\n"
    hello, _ = decode_line(said[0])
    assert isinstance(hello, Frame)
    assert (hello.sequence, decode_payload([hello.payload])) == (0, b"parts")
    return said[1:]


def frames(lines: list[bytes]) -> list[Frame]:
    found = [decode_line(line)[0] for line in lines]
    return [each for each in found if isinstance(each, Frame)]


def controls(lines: list[bytes]) -> list[tuple[bytes, int, int]]:
    found = [decode_line(line)[0] for line in lines]
    return [(each.kind, each.sequence, each.number) for each in found if isinstance(each, Control)]


def message(lines: list[Frame]) -> bytes | None:
    return decode_payload([each.payload for each in lines])


# ---------------------------------------------------------------------------------- the wire


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 100, 1439, 1440])
def test_a_request_of_one_line_is_answered_with_its_sequence(parts: Path, length: int) -> None:
    request = bytes(i * 7 & 0xFF for i in range(length))

    said = console(parts, *encode_message(">", 0x1A2, request))

    (answer,) = frames(said)
    assert (answer.sequence, answer.index, answer.total) == (0x1A2, 0, 1)
    assert message([answer]) == request


def test_each_line_of_a_longer_request_but_the_last_is_acknowledged(parts: Path) -> None:
    request = bytes(i * 31 & 0xFF for i in range(4000))

    said = console(parts, *encode_message(">", 7, request))

    assert controls(said) == [(b"+", 7, 0), (b"+", 7, 1)]
    assert message(frames(said)) == request


def test_a_long_answer_is_cut_into_numbered_lines_that_a_terminal_takes(parts: Path) -> None:
    request = bytes(range(256)) * 5

    said = console(parts, *encode_message(">", 1, request), mode="eightfold")

    answer = frames(said)
    assert [each.index for each in answer] == list(range(len(answer)))
    assert {each.total for each in answer} == {len(answer)}
    assert message(answer) == request * 8
    assert max(map(len, said)) < 2048


def test_the_answers_are_the_bytes_that_the_host_would_write(parts: Path) -> None:
    request = bytes(range(256)) * 9

    said = console(parts, *encode_message(">", 3, request))

    assert said[1:] == encode_message("<", 3, request)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n\r"], ids=repr)
def test_lines_may_end_as_terminals_like(parts: Path, end: bytes) -> None:
    (line,) = encode_message(">", 5, b"hello")

    said = console(parts, line.replace(b"\n", end))

    assert message(frames(said)) == b"hello"


def test_noise_between_requests_is_not_answered(parts: Path) -> None:
    said = console(parts, b"\n", b"login:\n", b"@<0001.000.001.00000000.\n", b"@\n", b">x\n", *encode_message(">", 1, b"x"))

    assert len(said) == 1
    assert message(frames(said)) == b"x"


def test_a_damaged_line_is_refused_and_taken_when_it_comes_again(parts: Path) -> None:
    (line,) = encode_message(">", 9, b"hello")
    damaged = line.replace(b"@>0009.000.001.", b"@>0009.000.001.").replace(line[-6:-2], b"AAAA")

    said = console(parts, damaged, line)

    assert controls(said) == [(b"!", 9, 0)]
    assert message(frames(said)) == b"hello"


@pytest.mark.parametrize("at", range(2, 23))
def test_a_wrong_character_anywhere_in_the_head_is_noticed(parts: Path, at: int) -> None:
    (line,) = encode_message(">", 9, b"hello")
    damaged = bytearray(line)
    damaged[at] = ord("1") if damaged[at] != ord("1") else ord("2")

    said = console(parts, bytes(damaged), line)

    assert [kind for kind, _, _ in controls(said)] == [b"!"]
    assert [message([each]) for each in frames(said)] == [b"hello"]


def test_a_line_that_is_cut_is_refused(parts: Path) -> None:
    (line,) = encode_message(">", 9, b"hello")

    said = console(parts, line[:12] + b"\n", line[:-5] + b"\n", b"@>\n", line)

    assert [kind for kind, _, _ in controls(said)] == [b"!", b"!", b"!"]
    assert message(frames(said)) == b"hello"


def test_a_line_that_says_no_base64_is_refused(parts: Path) -> None:
    bad = encode_line(">", 9, 0, 1, "ab*d"), encode_line(">", 9, 0, 1, "abc")

    said = console(parts, *bad, *encode_message(">", 9, b"hello"))

    assert controls(said) == [(b"!", 9, 0), (b"!", 9, 0)]
    assert message(frames(said)) == b"hello"


def test_a_request_that_lost_a_line_starts_again_from_its_first(parts: Path) -> None:
    request = bytes(range(256)) * 16
    first, second, third = encode_message(">", 4, request)

    said = console(parts, first, third, first, second, third)

    assert controls(said) == [(b"+", 4, 0), (b"!", 4, 2), (b"+", 4, 0), (b"+", 4, 1)]
    assert message(frames(said)) == request


def test_a_request_that_was_given_up_is_forgotten_when_the_next_begins(parts: Path) -> None:
    first, _ = encode_message(">", 4, bytes(2000))

    said = console(parts, first, *encode_message(">", 5, b"next"))

    assert message(frames(said)) == b"next"
    assert [each.sequence for each in frames(said)] == [5]


def test_the_last_answer_comes_again_when_it_is_asked_for(parts: Path) -> None:
    request = bytes(range(256)) * 8

    said = console(parts, *encode_message(">", 8, request), b"@?0008\n")

    answer = frames(said)
    assert len(answer) == 4
    assert answer[:2] == answer[2:]


def test_an_answer_that_was_never_given_cannot_come_again(parts: Path) -> None:
    said = console(parts, *encode_message(">", 8, b"x"), b"@?0009\n", b"@?zzzz\n")

    assert controls(said) == [(b"!", 9, 0xFFF), (b"!", 0xFFFF, 0xFFF)]


def test_a_request_that_comes_twice_is_answered_twice_with_the_same_words(parts: Path) -> None:
    (line,) = encode_message(">", 8, b"progress")

    said = console(parts, line, line)

    assert controls(said) == [(b"~", 8, 0x1F)]
    assert [message([each]) for each in frames(said)] == [b"progress"] * 2


def test_a_request_that_is_too_long_is_refused_and_does_no_harm(parts: Path) -> None:
    total = 60
    piece = "A" * 1920
    lines = [encode_line(">", 6, index, total, piece) for index in range(total)]

    said = console(parts, *lines, *encode_message(">", 7, b"still here"))

    assert b"!" in {kind for kind, _, _ in controls(said)}
    assert message(frames(said)) == b"still here"


def test_a_line_longer_than_any_terminal_takes_is_refused_and_does_no_harm(parts: Path) -> None:
    said = console(parts, encode_line(">", 6, 0, 1, "A" * 9000), *encode_message(">", 7, b"still here"))

    assert message(frames(said)) == b"still here"


def test_the_checksum_is_that_of_zlib(parts: Path) -> None:
    (line,) = console(parts, *encode_message(">", 2, b"abc"))

    _, _, _, crc, payload = line.strip().split(b".", 4)
    assert int(crc, 16) == zlib.crc32(b"0002.000.001." + payload)


# ---------------------------------------------------------------------------------- bytes

EDGES = (0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, ALL_ONES)


def test_numbers_are_read_and_written_as_the_host_does(parts: Path) -> None:
    given = b"".join(map(leb, EDGES))

    assert run(parts, "numbers", given=given) == given + b"\0"


@pytest.mark.parametrize("given", [b"\x80", b"\xff\xff\xff", b"\x80" * 11], ids=repr)
def test_a_number_without_its_end_is_noticed(parts: Path, given: bytes) -> None:
    assert run(parts, "numbers", given=given) == b"\x01"


# ---------------------------------------------------------------------------------- observing


def records(data: bytes) -> list[tuple[int, ...]]:
    reader = Bytes(data)
    found: list[tuple[int, ...]] = []
    while not reader.exhausted and reader.byte() == 1:
        found.append((reader.byte(), reader.number(), reader.number(), reader.byte(), reader.number()))
    return found


MAPS = {
    "01000000-01010000 rw-p 00000000 00:00 0 \n": [(0, 0, 16, 3, 0)],
    "00ff0000-01003000 r--p 00000000 00:00 0 \n": [(0, 0, 3, 1, 0)],
    "01002000-02001000 ---p 00000000 00:00 0 \n": [(0, 2, 14, 0, 0), (1, 0, 1, 0, 0)],
    "01001000-01004000 r-xp 00009000 00:01 9  /init\n": [(0, 1, 3, 5 | 16, 9)],
    "00ffe000-01004000 rwxs 00009000 00:01 9  /init\n": [(0, 0, 4, 7 | 8 | 16, 11)],
    "02003000-7fff00000000 rw-p 00000000 00:00 0 [x]\n": [(1, 3, 1, 3, 0)],
    "03000000-03001000 rw-p 00000000 00:00 0 \n": [],
    "01010000-02000000 rw-p 00000000 00:00 0 \n": [],
}


@pytest.mark.parametrize("line", MAPS)
def test_a_line_of_maps_is_clipped_to_the_windows(parts: Path, line: str) -> None:
    assert records(run(parts, "maps", given=line.encode())) == MAPS[line]


def test_a_maps_file_longer_than_the_buffer_is_read_whole(parts: Path) -> None:
    said = run(parts, "vmas")

    assert said[-1:] == b"\0"
    assert records(said) == [(0, i, 1, 3 if i % 2 == 0 else 1, 0) for i in range(16)]


VMSTAT = b"nr_free_pages 4711\nnr_free_pages_blocks 8\nMemFree:   12 kB\nlast 3"


@pytest.mark.parametrize(
    ("key", "value"),
    [("nr_free_pages", 4711), ("nr_free_pages_blocks", 8), ("MemFree", 12), ("last", 3), ("nr_free", None), ("kB", None)],
)
def test_a_key_is_found_at_the_start_of_its_line_only(parts: Path, key: str, value: int | None) -> None:
    assert Bytes(run(parts, "key", key, given=VMSTAT)).number() == (0 if value is None else value + 1)


ZONEINFO = b"""Node 0, zone      DMA
  pages free     3840
  pagesets
    cpu: 0
              count: 12
              high:  33
              batch: 8
    cpu: 1
              count: 307
              high:  33
  account: 5
  discount: 7
  count 9
"""


def test_the_counts_of_all_lists_are_added_up_however_the_text_is_cut(parts: Path) -> None:
    for first in range(len(ZONEINFO) + 1):
        assert Bytes(run(parts, "counts", given=leb(first) + ZONEINFO)).number() == 12 + 307


def test_a_view_is_answered_with_what_could_be_opened(parts: Path) -> None:
    view = View(sources=(Source("/proc/self/maps", 0, 8, 8, (Field("x", 0, 8),)), Source("/none", 0, 8, 8, ())))

    said = run(parts, "configure", given=encode_view(view)[1:])

    assert said[0] == 0
    answer = decode_view(Bytes(b"\x01" + said[1:]), view)
    assert (answer.sources[0], answer.sources[1]) == (0, 2)


@pytest.mark.parametrize(
    "source",
    [
        Source("/proc/self/maps", 0, 8, 65, ()),
        Source("/proc/self/maps", 0, 8, 8, tuple(Field("x", 0, 1) for _ in range(9))),
        Source("/proc/self/maps", 0, 8, 8, (Field("x", 7, 2),)),
        Source("/proc/self/maps", 0, 64, 64, (Field("x", 0, 9),)),
        Source("/proc/self/maps", 0, 64, 64, (Field("x", (1 << 32) - 1, 4),)),
        Source("/" + "x" * 200, 0, 8, 8, ()),
    ],
    ids=["long record", "many fields", "field behind the record", "wide field", "field far away", "long path"],
)
def test_a_view_that_would_read_behind_a_record_is_refused(parts: Path, source: Source) -> None:
    said = run(parts, "configure", given=encode_view(View(sources=(source,)))[1:])

    assert said[:1] == b"\x01"


def test_more_sources_than_there_is_room_for_are_refused(parts: Path) -> None:
    sources = tuple(Source("/proc/self/maps", 0, 8, 8, ()) for _ in range(5))

    assert run(parts, "configure", given=encode_view(View(sources=sources))[1:])[:1] == b"\x01"


def test_a_configuration_that_ends_early_is_refused(parts: Path) -> None:
    encoded = encode_view(View(accounting="/proc/vmstat", keys=("nr_free_pages",)))[1:]

    for length in range(len(encoded)):
        assert run(parts, "configure", given=encoded[:length])[:1] == b"\x01"
    assert run(parts, "configure", given=encoded)[:1] == b"\x00"


def command(kind: int, payload: bytes) -> bytes:
    return struct.pack("<4I", kind, 3, len(payload), 77) + payload


ABANDONED = command(5, b"what a dead process was asked")


@pytest.mark.parametrize(
    ("before", "payload"),
    [(b"", b"steps"), (b"", b""), (b"", b"x" * 4000), (ABANDONED, b"steps"), (ABANDONED * 3, b""), (ABANDONED, b"x" * 999)],
)
def test_of_commands_that_came_together_the_last_is_done(parts: Path, before: bytes, payload: bytes) -> None:
    assert run(parts, "command", given=before + command(1, payload)) == command(1, payload)


@pytest.mark.parametrize("given", [b"", ABANDONED[:20], command(1, b"x" * 5000), ABANDONED + b"\xff" * 20])
def test_a_command_that_makes_no_sense_is_none(parts: Path, given: bytes) -> None:
    assert run(parts, "command", given=given) == b""


def test_a_file_of_another_file_system_with_the_same_number_is_none_of_ours(parts: Path) -> None:
    f, none = 1, 0  # an image is none of the program's files
    with_devices, without = [f, none, none, none], [f, none, f, none]
    f_alone = [none, f]  # where nobody else has its number

    assert list(run(parts, "identity")) == [*with_devices, *without, *f_alone, False]
