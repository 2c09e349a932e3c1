"""Exec: the old address space goes, and the image comes as it is in the file."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Exec, Exit, Fork, Handover, Load, Store, Threads, Try
from harness.program.program import Program


@contract("exec.drops-all", catches=("no-vm-drop", "exec-keeps-old-mappings"))
@given(
    program=drawn(
        """
        p0: store bss[0] 0x11
        p0: exec small
        p0: load bss[0]
        """,
        """
        p0: exec large-bss
        p0: store bssend[2] 0x11
        p0: exec written-data
        p0: load bssend[2]
        p0: load bss[3]
        p0: exec large-text
        p0: load bss[3]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p1: exec
        p1: load a[0]
        """,
        containing=(Store, Fork, Exec),
    )
)
def test_exec_drops_the_old_address_space(guest: Guest, program: Program) -> None:
    """Exec drops the old address space whole, and nothing of it is visible to the new image."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.drops-all")


@contract(
    "exec.image-intact",
    catches=("free-cached-pages", "exec-template-of-wrong-image", "large-bss-cut", "file-offset-wraps"),
)
@given(
    program=drawn(
        """
        p0: exec small
        p0: load data[0]
        p0: store data[0] 0x11
        p0: fork p1
        p1: exec written-data
        p1: load data[0]
        p1: load bss[1]
        p1: exec small
        p1: load data[0]
        """,
        """
        p0: exec large-text
        p0: load textend[1]
        p0: load textend[2]
        p0: load text[0]
        """,
        """
        p0: exec large-bss
        p0: store bssend[1] 0x11
        p0: store bssend[2] 0x22
        p0: load bssend[1]
        """,
        """
        p0: fork p1
        p1: load data[0]
        p1: exit 0
        p0: exec
        p0: load data[0]
        """,
        """
        p0: load text[0]
        p0: exec
        p0: load text[0]
        """,
        containing=(Exec, Load),
    )
)
def test_the_image_has_the_bytes_of_the_file(guest: Guest, program: Program) -> None:
    """The exec'd image has the file's bytes, whatever was exec'd, exited or written before."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.image-intact")


@contract(
    "cache.private-write-stays-out",
    catches=("file-private-not-cow", "cache-poisoned", "exec-zeroes-tail-in-cache", "sync-writes-private"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw private f
        p0: store a[1] 0x11
        p0: sync a[0..1]
        p0: map b[0] r private f+1
        p0: load b[0]
        """,
        """
        p0: exec small
        p0: store data[1] 0x11
        p0: advise data[1] dontneed
        p0: load data[1]+2048
        """,
        """
        p0: exec written-data
        p0: store bss[1] 0x11
        p0: fork p1
        p1: exec written-data
        p1: load bss[1]
        """,
        """
        p0: fork p1
        p1: store data[0] 0x11
        p0: load data[0]
        """,
        """
        p0: store data[0] 0x11
        p0: exec
        p0: load data[0]
        """,
        containing=(Exec, Store, Load),
    )
)
def test_a_private_write_stays_out_of_the_page_cache(guest: Guest, program: Program) -> None:
    """A write to a private mapping of a file never enters the page cache."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cache.private-write-stays-out")


@contract("cache.outlives-mappers", catches=("free-cached-pages",))
@given(
    program=drawn(
        """
        p0: load data[0]
        p0: fork p1
        p1: load data[0]
        p1: exit 0
        p0: exec
        p0: load data[0]
        """,
        containing=(Exec, Load, Exit),
    )
)
def test_a_cached_page_outlives_its_mappers(guest: Guest, program: Program) -> None:
    """A page-cache page stays valid though its last mapper is gone; a later mapper sees the same bytes."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="cache.outlives-mappers")


@contract("zero.fresh-memory", catches=("exec-tail-not-zeroed",))
@given(
    program=drawn(
        """
        p0: exec small
        p0: load data[1]+999
        p0: load data[1]+1000
        p0: load data[1]+4095
        """,
        """
        p0: fill bss[0] 0x11
        p0: exec large-bss
        p0: load data[1]+2048
        p0: load bss[0]
        p0: load bssend[2]
        p0: store heap[5] 0x22
        p0: exec large-bss
        p0: load heap[5]
        """,
        containing=(Exec, Load),
    )
)
def test_bss_reads_zero_from_the_first_byte_behind_the_file(guest: Guest, program: Program) -> None:
    """Every byte of newly mapped or bss memory reads zero."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="zero.fresh-memory")


@contract("exec.drops-all", catches=("exec-forgets-threads",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: threads 3
        p1: store a[1] 0x22
        p1: exec
        p0: store a[0] 0x33
        """,
        containing=(Store, Fork, Threads, Exec),
    )
)
def test_exec_drops_what_the_other_threads_hold(guest: Guest, program: Program) -> None:
    """Exec drops the old address space whole, and nothing of it is visible to the new image."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.drops-all")


@contract("exec.drops-all", catches=("thread-exec-keeps-old-space",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: handover exits
        p1: store a[1] 0x22
        p1: exec
        p0: store a[0] 0x33
        p1: exit 3
        p0: wait p1
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: handover sleeps
        p1: store a[1] 0x22
        p1: exec small
        p0: store a[0] 0x33
        p0: kill p1
        p0: wait p1
        """,
        containing=(Store, Fork, Handover, Exec),
    )
)
def test_exec_by_any_thread_drops_the_old_memory(guest: Guest, program: Program) -> None:
    """Exec drops the old address space whole, and nothing of it is visible to the new image."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.drops-all")


@contract("exec.failed-is-no-op", catches=("failed-exec-drops-pages",))
@given(
    program=drawn(
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: try exec-no-program a[0]
        p0: try exec-bad-argument a[0]
        p0: try exec-bad-path a[0]
        p0: load a[0]
        """,
        """
        p0: map a 2 rw private anon
        p0: store a[0] 0x11
        p0: vfork p1
        p1: try exec-no-program a[0]
        p1: store a[1] 0x22
        p1: exec
        p0: load a[1]
        p0: store a[0] 0x33
        """,
        containing=(Store, Try, Load),
    )
)
def test_an_exec_that_fails_changes_nothing(guest: Guest, program: Program) -> None:
    """An exec that fails leaves its caller's memory as it was."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="exec.failed-is-no-op")
