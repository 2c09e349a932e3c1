"""The summary of a run: how much was done, what was reached, skipped, and found on the side."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.compare.frame_match import OWNER_COPIED, OWNER_KEPT
from harness.coverage.reached import Reached
from harness.report.coverage import coverage_lines
from harness.runner import Statistics

EVENTS = (
    "map", "map.over", "map.refused", "map.enomem", "map.elsewhere", "map.populate", "limit",
    "unmap", "protect", "protect.enomem", "protect.eacces",
    "fault.zero", "fault.anon", "fault.file", "fault.shared", "fault.segv.maperr", "fault.segv.accerr", "fault.sigbus",
    "cow.copy", "cow.reuse", "print", "print.efault",
    "remap.move", "remap.grow", "remap.shrink", "remap.duplicate", "remap.efault", "remap.einval", "remap.enomem",
    "advise", "advise.failed", "brk.grow", "brk.shrink", "brk.enomem", "brk.below", "scratch", "try",
    "fork", "exec", "exec.small", "exec.large-bss", "exec.written-data", "exec.large-text", "exit",
    "crash.sigsegv", "crash.sigbus", "crash.sigkill", "handle.stored", "handle.refused",
    "kill", "kill.zombie", "kill.esrch", "threads", "handover.exits", "handover.sleeps", "mirror", "throng", "wait",
    "kernel_store", "kernel_store.partial", "kernel_store.efault", "force", "force.partial", "force.eio",
    "peek", "peek.eio", "pin", "splice", "feed", "unpin",
    "fix", "deliver", "unfix", "fork.copy",
    "read", "read.short", "read.efault", "write", "write.short", "write.efault", "truncate.up", "truncate.down",
    "punch", "punch.einval", "remove",
    "unlink", "unlink.enoent", "sync", "sync.enomem", "unspecified", "crowd", "disperse",
    "sendfile", "sendfile.short",
    "copyrange", "copyrange.short", "copyrange.einval", "copyrange.exdev", "starve", "starve.enomem", "refuse", "repeat",
    "swap",
)  # fmt: skip
"""Every event that the model counts. One that a long run never reached is a hole in the strategies."""


_TELLING = 20  # so many times is no chance
HOARD = "the kernel keeps what was freed for a while: rounds ran until it kept no more, {:,} frames (harness/hoard.py)"
LATE = "the kernel turned out to tear down late: its counts were waited for from then on (harness/patience.py)"


@dataclass(slots=True)
class RunNumbers:
    """The numbers of a run, or of one worker of it; workers' numbers are merged."""

    programs: int = 0
    steps: int = 0
    processes: int = 0
    findings: int = 0
    restores: int = 0
    seconds: float = 0.0
    """Of the worker that took longest: workers run side by side."""
    reach: Counter[str] = field(default_factory=Counter)
    situations: Reached = field(default_factory=Reached)
    skipped: dict[str, str] = field(default_factory=dict)
    """Contract, and why it was skipped."""
    expected: Counter[str] = field(default_factory=Counter)
    """Known divergences that were met, in words, and how often."""
    is_late: bool = False
    """Whether the kernel was found on the way to tear down late."""
    hoarded: int = 0
    """How many frames of what was freed the kernel was seen to keep for a while."""
    others: dict[str, str] = field(default_factory=dict)
    """A contract that was broken while another was tested, and the file with the program."""

    def add(self, statistics: Statistics, seconds: float) -> None:
        """Add what one runner did in `seconds`."""
        self.programs += statistics.programs
        self.steps += statistics.steps
        self.processes += statistics.processes
        self.findings += statistics.findings
        self.restores += statistics.restores
        self.is_late |= statistics.is_late
        self.hoarded = max(self.hoarded, statistics.hoarded)
        self.seconds = max(self.seconds, seconds)
        self.reach.update(statistics.reach)
        self.situations.merge(statistics.situations)

    def merge(self, numbers: Mapping[str, Any]) -> None:
        """Add what another process counted, in the form that `to_json` gave."""
        for name in ("programs", "steps", "processes", "findings", "restores"):
            setattr(self, name, getattr(self, name) + numbers[name])
        self.is_late |= numbers["is_late"]
        self.hoarded = max(self.hoarded, numbers["hoarded"])
        self.seconds = max(self.seconds, numbers["seconds"])
        self.reach.update(numbers["reach"])
        self.situations.merge(Reached.from_json(numbers["situations"]))
        self.skipped.update(numbers["skipped"])
        self.expected.update(numbers["expected"])
        for contract, file in numbers["others"].items():
            self.others.setdefault(contract, file)

    def to_json(self) -> dict[str, Any]:
        """Give the numbers as plain data, which survives the way between two processes."""
        return {
            "programs": self.programs,
            "steps": self.steps,
            "processes": self.processes,
            "findings": self.findings,
            "restores": self.restores,
            "seconds": self.seconds,
            "reach": dict(self.reach),
            "situations": self.situations.to_json(),
            "skipped": dict(self.skipped),
            "expected": dict(self.expected),
            "is_late": self.is_late,
            "hoarded": self.hoarded,
            "others": dict(self.others),
        }


def summary_lines(numbers: RunNumbers, *, width: int = 100) -> list[str]:
    """Write the summary; empty where nothing ran, was skipped or found."""
    return [
        *run_lines(numbers),
        *reach_lines(numbers.reach, width=width),
        *coverage_lines(numbers.situations.counts),
        *skip_lines(numbers.skipped, width=width),
        *expected_lines(numbers.expected),
        *([LATE] if numbers.is_late else []),
        *owner_lines(numbers.reach, width=width),
        *([HOARD.format(numbers.hoarded)] if numbers.hoarded else []),
        *other_lines(numbers.others),
    ]


def owner_lines(reach: Mapping[str, int], *, width: int = 100) -> list[str]:
    """Say that a kernel copies where it need not: that is allowed where nobody says what it means to do, and slow."""
    copied, kept = reach.get(OWNER_COPIED, 0), reach.get(OWNER_KEPT, 0)
    if copied < max(_TELLING, kept):
        return []
    return _wrapped(
        f"in {copied:,} of {copied + kept:,} stores of a sole owner this kernel copied the page, as one does whose counts "
        'stay too high; sole_owner_write = "reuse" in the [semantics] of its definition holds it to keep the page',
        width,
    )


def expected_lines(expected: Mapping[str, int]) -> list[str]:
    """Say which known divergences were met, and which were not."""
    met = [f"expected, {count:,} times: {entry}" for entry, count in sorted(expected.items()) if count]
    return met + [f"unexpectedly passing: {entry}" for entry, count in sorted(expected.items()) if not count]


def run_lines(numbers: RunNumbers) -> list[str]:
    """Say how many programs ran, how fast, and of what size."""
    if not numbers.programs:
        return []
    ran, seconds = numbers.programs, numbers.seconds
    rate = f" in {seconds:.1f} s ({ran / seconds:,.0f}/s)" if seconds else ""
    steps, processes = numbers.steps / ran, numbers.processes / ran
    findings, restores = _many(numbers.findings, "finding"), _many(numbers.restores, "restore")
    return [
        f"{_many(ran, 'program')}{rate}, {steps:.1f} steps and {processes:.1f} processes on average",
        f"{findings}, {restores} of the guest",
    ]


def reach_lines(reach: Mapping[str, int], *, known: Iterable[str] = EVENTS, width: int = 100) -> list[str]:
    """Write how often each event was reached, in columns, and name those that never were."""
    if not reach:
        return []
    order = [*known, *sorted(set(reach) - set(known))]
    cells = [f"{name} {reach[name]:,}" for name in order if reach.get(name)]
    lines = ["reached, as the model counts it:", *_columns(cells, width)]
    never = [name for name in order if not reach.get(name)]
    if never:
        lines += _wrapped(f"never reached: {', '.join(never)}", width)
    return lines


def skip_lines(skipped: Mapping[str, str], *, width: int = 100) -> list[str]:
    """Name the contracts that were skipped, under each reason. A skip is never a pass."""
    by_reason: dict[str, list[str]] = {}
    for contract, reason in sorted(skipped.items()):
        by_reason.setdefault(reason, []).append(contract)
    lines = []
    for reason, contracts in by_reason.items():
        lines += _wrapped(f"skipped, not passed: {', '.join(contracts)}: {reason}", width)
    return lines


def other_lines(others: Mapping[str, str]) -> list[str]:
    """Name the contracts that were broken while another was tested, each with the file that shows it."""
    if not others:
        return []
    column = max(map(len, others))
    head = "broken too, by programs that were drawn for other contracts:"
    return [head, *(f"  {contract:<{column}}  {file}" for contract, file in sorted(others.items()))]


def _columns(cells: list[str], width: int) -> list[str]:
    """Lay short texts out in columns, downwards first."""
    column = max(map(len, cells), default=0) + 3
    count = max(1, (width - 2) // column)
    rows = -(-len(cells) // count)
    table = [cells[row::rows] for row in range(rows)]
    return ["  " + "".join(f"{cell:<{column}}" for cell in row).rstrip() for row in table]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
