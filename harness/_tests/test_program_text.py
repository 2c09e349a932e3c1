"""The text form: it round-trips, and what is malformed is refused with its line and a helpful sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ProgramError
from harness.program.ops import Exit, Load, Map, Observe, Print, Store
from harness.program.outcome import (
    Code,
    Done,
    Exited,
    Failed,
    Faulted,
    Gone,
    Killed,
    Loaded,
    Lost,
    Outcome,
    Printed,
    RanOn,
    Received,
    Signal,
)
from harness.program.program import Program
from harness.program.text import VERSION, format_op, format_outcome, format_program, format_steps, parse_op, parse_program
from harness.program.units import Address, PageRange, Prot
from strategies.programs import programs

FEW = settings(max_examples=150, deadline=None, derandomize=True, database=None)

# ---------------------------------------------------------------------------------- round trips


@FEW
@given(programs())
def test_a_program_reads_back_as_it_was_written(program: Program) -> None:
    assert parse_program(format_program(program)) == program


@FEW
@given(programs(max_steps=12))
def test_what_is_written_twice_is_written_the_same(program: Program) -> None:
    text = format_program(program)

    assert format_program(parse_program(text)) == text


@FEW
@given(programs(max_steps=12))
def test_each_line_reads_back_alone(program: Program) -> None:
    assert tuple(parse_op(format_op(op)) for op in program.steps) == program.steps


@FEW
@given(programs(max_steps=8), st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"])), max_size=3))
def test_a_title_reads_back(program: Program, lines: list[str]) -> None:
    title = "\n".join(line.strip().replace("#", "") for line in lines).strip("\n")

    assert parse_program(format_program(Program(program.steps, title))).title.split() == title.split()


@FEW
@given(programs(max_steps=10))
def test_outcomes_behind_the_steps_are_read_over(program: Program) -> None:
    said = tuple(None if isinstance(op, Observe) else Loaded(0x11) for op in program.steps)

    assert parse_program("\n".join(format_steps(program, said))) == program


def test_an_empty_program_has_a_head_and_no_steps() -> None:
    assert format_program(Program(())) == f"pagepact {VERSION}\n"
    assert parse_program("") == parse_program(f"pagepact {VERSION}\n") == Program(())


def test_blank_lines_comments_and_line_ends_are_free() -> None:
    text = "# title\r\n\r\n  p0: load a[0]   # why\r\n\n#   more\np0:store a[0]+0x10 17\n"

    program = parse_program(text)

    assert program.steps == (Load(0, Address("a", 0)), Store(0, Address("a", 0, 16), 17))
    assert program.title == "title"


def test_ranges_have_a_short_form() -> None:
    whole = Map(0, PageRange("a", 0, 4), Prot.R | Prot.W)
    one = Map(0, PageRange("b", 0, 1), Prot.NONE)
    middle = Map(0, PageRange("c", 2, 3), Prot.R)

    assert [format_op(op) for op in (whole, one, middle)] == [
        "p0: map a 4 rw private anon",
        "p0: map b 1 none private anon",
        "p0: map c[2..4] r private anon",
    ]
    assert parse_op("p0: map a[0..3] rw private anon") == whole


def test_a_version_of_ours_or_older_is_read() -> None:
    assert parse_program("# x\npagepact 1\np0: exit 0").steps == (Exit(0, 0),)


# ---------------------------------------------------------------------------------- what is refused

MALFORMED = {
    "an unknown verb": ("p0: lod a[0]", "there is no operation 'lod'; known are: map, unmap"),
    "no verb": ("p0:", "is no step; a step reads 'p0: load a[0]'"),
    "no colon": ("p0 load a[0]", "is no step"),
    "no process": ("load a[0]", "is no step"),
    "a process without a number": ("px: load a[0]", "'px' is no process; processes are called p0, p1"),
    "a negative process": ("p-1: load a[0]", "is no process"),
    "observe by somebody": ("p0: observe", "it stands alone on its line"),
    "an unknown window": ("p0: load z[0]", "there is no window 'z'"),
    "a window in capitals": ("p0: load A[0]", "'A[0]' is no place; write a[0] or a[0]+5"),
    "a place without a page": ("p0: load a", "is no place"),
    "a page that is no number": ("p0: load a[x]", "is no number; write 17 or 0x11"),
    "a page outside its window": ("p0: load a[16]", "a[16] is not inside window a of 16 pages"),
    "a page outside an image window": ("p0: load text[2]", "not inside window text of 2 pages"),
    "a range outside its window": ("p0: unmap a[14..16]", "not inside window a of 16 pages"),
    "a range that runs backwards": ("p0: unmap a[3..2]", "not inside window a"),
    "a short range that is too long": ("p0: map a 17 rw private anon", "not inside window a"),
    "a short range of nothing": ("p0: map a 0 rw private anon", "0 is not between 1 and"),
    "a short range of something": ("p0: map a four rw private anon", "is no number; write 17 or 0x11"),
    "an offset behind the page": ("p0: load a[0]+4096", "an offset is 0 to 4095"),
    "a byte that is none": ("p0: store a[0] 256", "256 is not between 0 and 255"),
    "a negative byte": ("p0: store a[0] -1", "-1 is not between 0 and 255"),
    "a byte that is no number": ("p0: store a[0] x", "is no number; write 17 or 0x11"),
    "an exit status that is none": ("p0: exit 256", "256 is not between 0 and 255"),
    "a length of nothing": ("p0: print a[0] 0", "0 is not between 1 and 64"),
    "a length that is too long": ("p0: print a[0] 65", "65 is not between 1 and 64"),
    "a print over the end of a page": ("p0: print a[0]+4090 7", "print stays within one page"),
    "a fill of half a page": ("p0: fill a[0]+1 0x11", "fill takes a whole page, without an offset"),
    "a protection that is none": ("p0: protect a[0] wr", "'wr' is no protection; write none, r, rw, rx"),
    "an unknown sharing": ("p0: map a 1 rw public anon", "'public' is not one of: private"),
    "an unknown backing": ("p0: map a 1 rw private tape", "'tape' is not one of: anon"),
    "an unknown access": ("p0: crash run a[0]", "'run' is not one of: load, store"),
    "too few operands": ("p0: store a[0]", "store takes 2 operands (AT VALUE), not 1"),
    "too many operands": ("p0: disperse now", "disperse takes 0 operands (none), not 1"),
    "an image that there is none of": ("p0: exec now", "'now' is not one of: own, small, "),
    "a process that is not there": ("p3: load a[0]", "process p3 does not live here"),
    "a name that is taken": ("p0: fork p0", "the name p0 is taken already"),
    "too many processes": ("p0: fork p16", "process names end at p15"),
    "a wait for a live child": ("p0: fork p1\np0: wait p1", "p1 is no ended child of p0"),
    "a wait for nobody": ("p0: wait p9", "p9 is no ended child of p0"),
    "a newer version": ("pagepact 2", "format version 2, and this pagepact reads up to 1: update pagepact"),
    "a version that is no number": ("pagepact new", "'pagepact VERSION' stands before the first step, with a number"),
    "garbage": ("\x00\x7f@#\u2028", "is no step"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused_with_its_line_and_a_sentence(what: str) -> None:
    text, words = MALFORMED[what]
    last = 2 + text.count("\n") + 1

    with pytest.raises(ProgramError) as caught:
        parse_program(f"# title\n\n{text}", source="x.prog")

    assert caught.value.line == last
    assert str(caught.value).startswith(f"x.prog:{last}: ")
    assert words in caught.value.reason


def test_a_version_line_in_the_middle_is_refused() -> None:
    with pytest.raises(ProgramError, match="stands before the first step") as caught:
        parse_program("p0: load a[0]\npagepact 1\n")

    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("p0: fork p1\np1: exit 0\np1: load a[0]", "process p1 does not live here"),
        ("p0: fork p1\np1: crash load a[0]\np1: exit 0", "process p1 does not live here"),
        ("p0: exit 0\n# and then\np0: load a[0]", "process p0 does not live here"),
        ("p0: fork p1\np1: fork p2\np2: exit 0\np1: wait p2\np0: wait p2", "p2 is no ended child of p0"),
        ("p0: fork p1\np1: fork p2\np2: exit 0\np0: wait p2", "p2 is no ended child of p0"),
        ("p0: fork p1\np1: exit 0\np0: wait p1\np0: fork p1", "the name p1 is taken already"),
    ],
)
def test_the_dead_do_nothing_and_are_waited_for_by_their_parents(steps: str, words: str) -> None:
    with pytest.raises(ProgramError, match=words) as caught:
        parse_program(steps)

    assert caught.value.line == len(steps.splitlines())


def refusal(text: str) -> ProgramError | None:
    try:
        parse_program(text)
    except ProgramError as error:
        return error
    return None


@FEW
@given(st.text(max_size=80))
def test_any_text_is_a_program_or_a_program_error(text: str) -> None:
    error = refusal(text)

    assert error is None or error.line is not None


@FEW
@given(programs(max_steps=6), st.data())
def test_a_damaged_program_is_a_program_or_a_program_error(program: Program, data: st.DataObject) -> None:
    text = format_program(program)
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text(st.characters(codec="ascii"), max_size=3))

    error = refusal(text[:at] + junk + text[at + data.draw(st.integers(0, 3)) :])

    assert error is None or (error.line is not None and "\n" not in error.reason)


# ---------------------------------------------------------------------------------- outcomes

SAID: list[tuple[Outcome | None, str]] = [
    (None, ""),
    (Done(), "done"),
    (Loaded(0), "0x00"),
    (Loaded(0xAB), "0xab"),
    (Printed(3), "wrote 3"),
    (Received(17), "received 17"),
    (RanOn(), "did not wait"),
    (Faulted(Signal.SIGSEGV, Code.MAPERR, Address("a", 0)), "SIGSEGV MAPERR at a[0]"),
    (Faulted(Signal.SIGBUS, Code.ADRERR, Address("b", 2, 9)), "SIGBUS ADRERR at b[2]+9"),
    (Faulted(50, 77, None, 0x7FF0), "signal 50 code 77 at 0x7ff0"),
    (Faulted(Signal.SIGSEGV, Code.MAPERR, None), "SIGSEGV MAPERR at 0x0"),
    (Failed("ENOMEM"), "ENOMEM"),
    (Exited(7), "exited 7"),
    (Killed(Signal.SIGKILL), "killed SIGKILL"),
    (Killed(40), "killed signal 40"),
    (Gone(), "gone"),
    (Lost("it was killed"), "LOST (it was killed)"),
]


@pytest.mark.parametrize(("outcome", "text"), SAID, ids=str)
def test_an_outcome_is_written_for_people(outcome: Outcome | None, text: str) -> None:
    assert format_outcome(outcome) == text


def test_outcomes_stand_in_one_column_and_steps_that_were_not_done_have_none() -> None:
    program = parse_program("p0: map a 1 rw private anon\np0: load a[0]\nobserve\np0: print a[0] 4\np0: exit 0")

    lines = list(format_steps(program, (Done(), Loaded(0), None)))

    assert lines == [
        "p0: map a 1 rw private anon   => done",
        "p0: load a[0]                 => 0x00",
        "observe",
        "p0: print a[0] 4",
        "p0: exit 0",
    ]
    assert isinstance(program.steps[3], Print)


@pytest.mark.parametrize("odd", ["\f", "\v", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_feeds_end_a_line(odd: str) -> None:
    program = parse_program(f"# one{odd}line\r\np0: load a[0] # {odd} p0: no step\r\n")

    assert program.title == f"one{odd}line"
    assert len(program) == 1
    assert parse_program(format_program(program)) == program


def test_an_error_counts_lines_as_editors_do() -> None:
    with pytest.raises(ProgramError, match=r"^2: there is no operation"):
        parse_program("# \f\u2028\np0: dance\n")
