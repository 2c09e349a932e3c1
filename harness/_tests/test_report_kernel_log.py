"""Which lines of a kernel's complaint a report shows."""

from __future__ import annotations

from harness.report.kernel_log import excerpt


def shown(lines: list[str], size: int = 25) -> list[str]:
    return [lines[number] for number in excerpt(lines, size)]


def test_a_short_log_is_shown_whole() -> None:
    log = ["BUG: oh", "boot", "BUG: oh", "Call Trace:", "do_wp_page"]

    assert shown(log) == log


def test_what_has_no_reason_among_its_lines_ends_with_the_last() -> None:
    log = ["the machine stopped", *(f"line {n}" for n in range(40))]

    assert shown(log, 5) == [f"line {n}" for n in range(35, 40)]


def test_the_backtrace_of_a_long_complaint_follows_its_head() -> None:
    reason = "page dumped because: VM_BUG_ON_PAGE(page_ref_count(page) <= 0)"
    owner = [f"page_owner {n}" for n in range(40)]
    place = ["kernel BUG at include/linux/mm.h:717!", *(f"R{n}: 0" for n in range(12))]
    trace = ["Call Trace:", *(f"frame {n}" for n in range(30))]
    log = [reason, "boot", "page:1", "flags:", "raw:", reason, *owner, *place, *trace]

    seen = shown(log)

    assert seen[:4] == ["page:1", "flags:", "raw:", reason]
    assert place[0] in seen
    assert seen[seen.index("Call Trace:") + 1 :] == [f"frame {n}" for n in range(13)]
    assert len(seen) == 25


def test_the_first_of_many_complaints_is_shown() -> None:
    reason = "BUG: Bad page state in process init  pfn:00001"
    log = [reason, reason, "Call Trace:", "free_unref_page", *(f"BUG: {n}" for n in range(40)), reason]

    assert shown(log, 10)[:4] == [reason, reason, "Call Trace:", "free_unref_page"]
