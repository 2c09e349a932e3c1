from __future__ import annotations

import re
import socket
from collections.abc import Sequence

import pytest

from harness.errors import GuestDied, GuestPanicked
from harness.guest.console import MAX_LINE, TAIL_LINES, TAIL_WIDTH, Console, SocketStream, StreamEnded
from harness.guest.definition import LINUX_PANICS, load_definition
from harness.guest.memory_transport import FakeAgent, MemoryTransport


def console_over(text: bytes, *, ended: bool = False, patterns: Sequence[str] = LINUX_PANICS) -> Console:
    transport = MemoryTransport(FakeAgent())
    transport.read(65536, 0)  # the hello
    transport.print(text)
    if ended:
        transport.end()
    return Console(transport, patterns)


def log_all(console: Console) -> None:
    while (line := console.read_line(deadline=console.clock() + 1)) is not None:
        console.log(line)


def test_lines_come_without_their_ends_and_empty_ones_not_at_all() -> None:
    console = console_over(b"one\r\n\r\ntwo\n\rthree\rfour\n")

    lines = [console.read_line(deadline=1) for _ in range(5)]

    assert lines == [b"one", b"two", b"three", b"four", None]


def test_a_line_without_an_end_is_cut() -> None:
    console = console_over(b"a" * (MAX_LINE * 3 + 10))

    lines = [console.read_line(deadline=1) for _ in range(4)]

    assert [len(line or b"") for line in lines] == [MAX_LINE, MAX_LINE, MAX_LINE, 0]


def test_the_tail_is_bounded_in_both_directions() -> None:
    console = console_over(b"".join(b"%d " % n + b"x" * 900 + b"\n" for n in range(500)))

    log_all(console)
    tail = console.tail().split("\n")

    assert len(tail) == TAIL_LINES
    assert max(map(len, tail)) == TAIL_WIDTH
    assert tail[-1].startswith("499 ")


def test_binary_garbage_becomes_text() -> None:
    console = console_over(b"\x1b[31mred\x1b[0m \xff\x00\x80 \x07 caf\xc3\xa9\n")

    log_all(console)

    assert console.tail() == r"red \xff \x80   café"


def test_an_unfinished_line_is_in_the_tail() -> None:
    console = console_over(b"one\nBooting from ROM")

    log_all(console)

    assert console.tail() == "one\nBooting from ROM"
    assert console.last_words() == "Booting from ROM"


def test_a_line_that_begins_again_counts_as_the_whole_line() -> None:
    console = console_over(b"flood flood\nflood flood\nflo")

    log_all(console)

    assert console.last_words() == "flood flood"


@pytest.mark.parametrize(
    "line",
    [
        "[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "[    1.5] BUG: unable to handle page fault for address: 0000000000001000",
        "[    1.5] BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "[    1.5] BUG: Bad page map in process init  pte:80000001 pmd:01234067",
        "[    1.5] BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1",
        "[    1.5] Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "[    1.5] kernel BUG at mm/rmap.c:1234!",
        "[    1.5] general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
        "[    1.5] WARNING: CPU: 0 PID: 7 at mm/memory.c:100 do_wp_page+0x1/0x2",
        "[    1.5] WARNING: mm/memory.c:100 at do_wp_page+0x1/0x2, CPU#0: init/1",
        "[    1.5] refcount_t: underflow; use-after-free.",
        "[    1.5] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "[    1.5] Unable to handle kernel paging request at virtual address dead000000000100",
        "[    1.5] BUG: KASAN: use-after-free in do_exit",
        "[    1.5] page dumped because: VM_BUG_ON_PAGE(page_ref_count(page) <= 0)",
        "[    1.5] divide error: 0000 [#1] PREEMPT SMP",
        "[    1.5] mm/pgtable-generic.c:50: bad pmd 00000000deadbeef(00000000deadbeef)",
        "[    1.5] BUG kmalloc-256 (Not tainted): Poison overwritten",
        "[    1.5] BUG vm_area_struct (Tainted: G    B             ): Object already free",
        "[    1.5] pagealloc: memory corruption",
        "[    1.5] slab error in cache_free_debugcheck(): cache `kmalloc-64': double free, or memory outside object",
        "[    1.5] Slab corruption (Not tainted): kmalloc-64 start=ffff888000000000, len=64",
        "[    1.5] WARNING: possible circular locking dependency detected",
        "[    1.5] WARNING: inconsistent lock state",
        "[    1.5] WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
        "[    1.5] WARNING: lock held when returning to user space!",
        "[    1.5] WARNING: held lock freed!",
        "[    1.5] WARNING: init/1 still has locks held!",
        "[    1.5] WARNING: Nested lock was not taken",
        "[    1.5] [ BUG: Invalid wait context ]",
        "[    1.5] INFO: trying to register non-static key.",
    ],
)
@pytest.mark.parametrize("guest", ["linux", "custom"])
def test_kernel_trouble_is_recognised(line: str, guest: str) -> None:
    console = console_over(line.encode() + b"\n", patterns=load_definition(guest).panic_patterns)

    with pytest.raises(GuestPanicked, match=re.escape(line)):
        log_all(console)


@pytest.mark.parametrize(
    "line",
    [
        "DEBUG: all is well",
        "DEBUG BUG tracker",
        "Memory: 90000K/130000K available",
        "acpi PNP0A03:00: fail to add MMCONFIG information",
        "process 'init' launched with a Warning",
        "rcu: Hierarchical RCU implementation.",
        "Out of memory: Killed process 7 (init)",
    ],
)
def test_ordinary_lines_are_no_trouble(line: str) -> None:
    console = console_over(line.encode() + b"\n")

    log_all(console)

    assert console.tail() == line


def test_the_backtrace_is_in_the_evidence() -> None:
    console = console_over(b"before\nBUG: oh\nCall Trace:\n do_wp_page+0x1\n---[ end trace ]---\n")

    with pytest.raises(GuestPanicked) as caught:
        log_all(console)

    assert caught.value.reason == "BUG: oh"
    assert caught.value.console.endswith("Call Trace:\ndo_wp_page+0x1\n---[ end trace ]---")


def test_a_flood_after_it_does_not_take_the_backtrace_away() -> None:
    flood = b"".join(b"BUG: Bad page state in process init  pfn:%05x\n" % pfn for pfn in range(TAIL_LINES * 2))
    console = console_over(b"before\nBUG: oh\nCall Trace:\n do_wp_page+0x1\n" + flood)

    with pytest.raises(GuestPanicked) as caught:
        log_all(console)

    kept = caught.value.console.split("\n")
    assert kept[:4] == ["before", "BUG: oh", "Call Trace:", "do_wp_page+0x1"]
    assert len(kept) <= TAIL_LINES


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 0 PID: 1 at drivers/x.c:1",
        "WARNING: inconsistent lock state",
        "BUG: sleeping function called from invalid context at mm/slab.h:1",
        "BUG: using smp_processor_id() in preemptible [00000000] code: swapper/0/1",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    ],
)
def test_a_warning_at_boot_is_noted_and_no_trouble(line: str) -> None:
    console = console_over(line.encode() + b"\n")
    console.booting = True

    log_all(console)

    assert console.warnings == [line]


def test_the_end_comes_after_the_last_line() -> None:
    console = console_over(b"last words", ended=True)

    line = console.read_line(deadline=1)

    assert line == b"last words"
    with pytest.raises(GuestDied):
        console.read_line(deadline=1)


def test_a_socket_is_read_until_its_end() -> None:
    near, far = socket.socketpair()
    stream = SocketStream(near)
    far.sendall(b"hello")

    first, silence = stream.read(100, 1), stream.read(100, 0)
    far.close()

    assert (first, silence) == (b"hello", b"")
    with pytest.raises(StreamEnded):
        stream.read(100, 1)
    with pytest.raises(StreamEnded):
        stream.write(b"x" * 10, 1)
    stream.close()


def test_a_socket_that_takes_nothing_does_not_stop_the_host() -> None:
    near, far = socket.socketpair()
    stream = SocketStream(near)

    with pytest.raises(TimeoutError):
        stream.write(b"x" * (1 << 22), 0.01)

    stream.close()
    far.close()


def two_ports(console: bytes, log: bytes) -> Console:
    ports = []
    for text in (console, log):
        port = MemoryTransport(FakeAgent())
        port.read(65536, 0)
        port.print(text)
        ports.append(port)
    return Console(ports[0], LINUX_PANICS, log=ports[1])


def test_a_panic_on_the_kernels_own_port_is_seen_and_kept() -> None:
    console = two_ports(b"", b"booting\nKernel panic - not syncing: no init\nrax 0\n")

    with pytest.raises(GuestPanicked, match="Kernel panic") as caught:
        console.read_line(deadline=5)

    assert caught.value.console == "booting\nKernel panic - not syncing: no init\nrax 0"


def test_of_two_complaints_on_the_kernels_own_port_the_first_is_the_reason() -> None:
    console = two_ports(b"", b"BUG: unable to handle\nOops: 0002 [#1]\nCall Trace:\n")

    with pytest.raises(GuestPanicked, match="BUG: unable") as caught:
        console.read_line(deadline=5)

    assert caught.value.console.endswith("Oops: 0002 [#1]\nCall Trace:")


def test_what_the_kernel_logs_on_its_own_port_is_evidence_and_no_message() -> None:
    console = two_ports(b"one\n", b"half a li")

    assert console.read_line(deadline=1) == b"one"
    assert console.read_line(deadline=1) is None
    assert console.tail() == ""
