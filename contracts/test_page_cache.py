"""Shared memory and files: one page cache for all who map, read and write."""

from __future__ import annotations

from hypothesis import given

from contracts.contract import assert_conforms, contract, drawn
from contracts.plugin.guest import Guest
from harness.program.ops import Copyrange, Feed, Fork, Map, Pin, Punch, Read, Splice, Truncate, Write
from harness.program.program import Program


@contract(
    "fork.shared-stays-shared",
    catches=("shared-becomes-private", "shared-untouched-not-shared", "split-forgets-hold", "fork-forgets-hold"),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: store a[0] 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw shared anon
        p0: fork p1
        p1: store a[0] 0x22
        p0: load a[0]
        """,
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: fork p1
        p1: exit 0
        p0: map a[3] rw shared anon
        p0: store a[3] 0x22
        p0: load a[1]
        p0: advise a[0] dontneed
        p0: load a[0]
        """,
        """
        p0: map a 3 rw shared anon
        p0: store a[0] 0x11
        p0: unmap a[2]
        p0: protect a[1] r
        p0: advise a[0] dontneed
        p0: load a[0]
        p0: unmap a[1]
        p0: store a[0] 0x22
        """,
        """
        p0: map a 3 rw shared f
        p0: store a[1] 0x11
        p0: unlink f
        p0: unmap a[0]
        p0: advise a[1] dontneed
        p0: load a[1]
        """,
        containing=(Fork, Map),
    )
)
def test_shared_memory_stays_shared_over_fork(guest: Guest, program: Program) -> None:
    """Shared memory is one memory for all who have it, whether or not it was touched before fork."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="fork.shared-stays-shared")


@contract(
    "file.shared-coherent",
    catches=(
        "shared-write-lost",
        "write-replaces-page",
        "unlink-frees-mapped",
        "sendfile-moves-page",
        "hole-is-zero-page",
        "failed-write-extends",
        "short-write-grows-file",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw shared f
        p0: load a[0]
        p0: store a[0] 0x11
        p0: map a[2..3] rw shared f
        p0: load a[2]
        """,
        """
        p0: map a 2 rw shared f
        p0: load a[0]
        p0: fork p1
        p1: store bss[0] 0x11
        p1: write f 0 bss[0] 1
        p0: load a[0]
        """,
        """
        p0: map a 2 rw shared f
        p0: unlink f
        p0: load a[0]
        """,
        """
        p0: map a 4 rw shared m
        p0: store a[0] 0x11
        p0: store a[2] 0x22
        p0: map a 4 rw shared m
        p0: load a[0]
        p0: load a[1]
        p0: load a[2]
        """,
        """
        p0: map a 2 rw shared f
        p0: map a[2..3] rw shared g
        p0: load a[2]
        p0: sendfile f 0 g 0 4096
        p0: store a[0] 0x11
        p0: load a[2]
        p0: sendfile g 100 f 5000 17
        p0: load a[1]+904
        """,
        """
        p0: truncate f 4096
        p0: truncate f 12288
        p0: map a[0] r private f+1
        p0: map a[1..2] rw shared f+1
        p0: load a[0]
        p0: load a[1]
        p0: write f 4200 data[0] 17
        p0: load a[0]+110
        p0: load a[1]+110
        """,
        """
        p0: truncate f 0
        p0: truncate f 8192
        p0: map a 2 rw shared f
        p0: load a[0]
        p0: fork p1
        p1: store a[0] 0x11
        p0: load a[0]
        """,
        """
        p0: truncate f 100
        p0: map a 3 rw shared f
        p0: map b 1 none private anon
        p0: write f 5000 b[0] 600
        p0: load a[0]
        p0: load a[1]
        """,
        """
        p0: truncate f 100
        p0: map a 1 rw private anon
        p0: map b 3 rw shared f
        p0: write f 100 a[0]+4090 600
        p0: read f 50 data[0] 600
        p0: write f 4090 a[0]+4090 600
        p0: load b[1]
        """,
        containing=(Read, Write, Map),
    )
)
def test_mappings_reads_and_writes_of_a_file_agree(guest: Guest, program: Program) -> None:
    """Shared mappings, read and write of one file agree at once; nothing is lost by msync, munmap or unlink."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.shared-coherent")


@contract(
    "file.truncate-cuts",
    catches=(
        "truncate-keeps-mapping",
        "truncate-keeps-copies",
        "sigbus-missing",
        "file-tail-not-zeroed",
        "truncate-forgets-page",
        "truncate-forgets-others",
        "truncate-forgets-mapping",
        "truncate-keeps-tlb",
        "merge-hides-from-truncate",
        "last-page-not-zeroed",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 2 rw shared f
        p0: load a[1]
        p0: truncate f 4096
        p0: load a[1]
        """,
        """
        p0: map a 2 rw private f
        p0: store a[1] 0x11
        p0: truncate f 4096
        p0: load a[1]
        """,
        """
        p0: map a 2 rw shared f
        p0: truncate f 100
        p0: load a[0]+200
        """,
        """
        p0: map a 3 rw shared f
        p0: store a[1] 0x11
        p0: truncate f 100
        p0: truncate f 12288
        p0: load a[1]
        """,
        """
        p0: map a[0] rw shared f
        p0: map a[1..2] rw shared f+1
        p0: map a[4] r private f+1
        p0: map a[3] r private f
        p0: load a[2]
        p0: load a[4]
        p0: truncate f 4096
        p0: load a[2]
        p0: load a[4]
        """,
        """
        p0: map a 2 rw shared f+2
        p0: store a[1]+600 0x11
        p0: truncate f 12788
        p0: load a[1]+600
        p0: truncate f 13288
        p0: load a[1]+600
        p0: write f 13287 a[0] 1
        p0: load a[1]+700
        """,
        """
        p0: map a 2 rw shared f
        p0: map a[2..3] r shared f
        p0: map a[4..5] rw private f
        p0: fork p1
        p1: load a[1]
        p1: store a[5] 0x11
        p0: load a[3]
        p0: load a[5]
        p0: truncate f 4096
        p0: load a[3]
        p0: load a[5]
        p1: load a[1]
        p1: load a[5]
        """,
        containing=(Truncate, Map),
    )
)
def test_truncation_cuts_every_mapping(guest: Guest, program: Program) -> None:
    """Truncation takes the pages behind the new end from every mapping, and what is cut within a page reads zero."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.truncate-cuts")


@contract(
    "file.punch-hole",
    catches=(
        "punch-keeps-mappings",
        "punch-forgets-others",
        "punch-takes-copies",
        "punch-keeps-cache",
        "punch-leaves-parts",
        "punch-rounds-out",
        "punch-forgets-last-page",
        "punch-cuts-size",
        "punch-keeps-tlb",
        "remove-is-dontneed",
        "remove-forgets-offset",
    ),
)
@given(
    program=drawn(
        """
        p0: map a 3 rw shared f
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: punch f 4096 8192
        p0: load a[0]
        p0: load a[1]
        p0: store a[1] 0x33
        """,
        """
        p0: map a 4 rw shared f
        p0: load a[1]
        p0: punch f 100 8292
        p0: load a[0]+99
        p0: load a[0]+100
        p0: load a[2]+99
        p0: load a[2]+100
        """,
        """
        p0: map a 2 rw private f
        p0: map b 2 rw shared f
        p0: store a[0] 0x11
        p0: load a[1]
        p0: fork p1
        p1: punch f 0 8192
        p0: load a[0]
        p0: load a[1]
        p0: load b[0]
        """,
        """
        p0: map a 4 r shared f
        p0: load a[3]
        p0: punch f 8192 16384
        p0: load a[3]
        p0: read f 13000 bss[0] 17
        """,
        """
        p0: map a 3 rw shared f+1
        p0: store a[1] 0x11
        p0: fork p1
        p1: advise a[1] remove
        p0: load a[0]
        p0: load a[1]
        """,
        """
        p0: map a 2 rw shared anon
        p0: store a[0] 0x11
        p0: store a[1] 0x22
        p0: fork p1
        p0: advise a[0] remove
        p1: load a[0]
        p1: load a[1]
        """,
        """
        p0: map a 2 rw shared f
        p0: store a[0] 0x11
        p0: pin a[0]
        p0: punch f 0 4096
        p0: store a[0] 0x22
        p0: unpin
        """,
        containing=(Punch, Map),
    )
)
def test_a_hole_is_gone_from_every_mapping(guest: Guest, program: Program) -> None:
    """A hole that is punched into a file reads zero for all who share it; private copies and all around it stay."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.punch-hole")


@contract("pipe.keeps-pages", catches=("splice-takes-more",))
@given(
    program=drawn(
        """
        p0: map a 1 rw shared f
        p0: splice f 0
        p0: feed 0x11
        p0: load a[0]+1
        p0: unpin
        p0: unpin
        """,
        """
        p0: map a 1 r private f
        p0: load a[0]
        p0: pin a[0]+100
        p0: feed 0x11
        p0: fork p1
        p1: load a[0]+101
        """,
        containing=(Feed, Splice, Pin),
    )
)
def test_what_is_written_into_a_pipe_stays_out_of_its_pages(guest: Guest, program: Program) -> None:
    """What is written into a pipe never reaches the pages that it holds: no file, and nobody's memory."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="pipe.keeps-pages")


@contract("file.shared-coherent", catches=("copy-range-copies-pages", "copy-range-keeps-size"))
@given(
    program=drawn(
        """
        p0: map a 3 rw shared g
        p0: map a[3] r private f+1
        p0: load a[0]
        p0: copyrange f 4090 g 100 17
        p0: load a[0]+101
        p0: load a[0]+200
        p0: store a[0]+100 0x11
        p0: load a[3]
        """,
        """
        p0: map a 3 rw private g
        p0: store a[0] 0x11
        p0: copyrange f 0 g 0 4096
        p0: load a[0]
        p0: copyrange f 12288 g 8192 4096
        p0: load a[2]+900
        p0: load a[2]+1100
        p0: copyrange f 14000 g 0 1
        """,
        """
        p0: map a 2 rw shared f
        p0: store a[0] 0x11
        p0: copyrange f 0 f 4096 100
        p0: load a[1]
        p0: copyrange f 0 f 50 100
        p0: load a[0]+50
        """,
        containing=(Copyrange, Map),
    )
)
def test_a_range_that_is_copied_goes_to_all_who_map_the_file(guest: Guest, program: Program) -> None:
    """Shared mappings, read and write of one file agree at once; nothing is lost by msync, munmap or unlink."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="file.shared-coherent")


@contract("errno.table", catches=("copy-range-forgets-overlap",))
@given(
    program=drawn(
        """
        p0: map a 2 rw shared f
        p0: copyrange f 100 f 150 100
        p0: load a[0]+150
        p0: copyrange f 13000 f 13000 4096
        p0: copyrange f 0 f 4096 4096
        """,
        containing=(Copyrange,),
    )
)
def test_a_range_of_a_file_is_not_copied_over_itself(guest: Guest, program: Program) -> None:
    """A system call fails with the documented errno, or does what it is documented to do."""
    verdict = guest.run(program)

    assert_conforms(verdict, to="errno.table")
