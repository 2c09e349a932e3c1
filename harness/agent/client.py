"""The client: what a guest with the agent inside can show, and programs run on it.

A `Link` is anything that carries one request to the agent and brings its answer back: a session with a machine in
QEMU, or a scripted one in a test. The client probes what the guest publishes, chooses what to look at, and turns
programs into traces. Trouble of the guest *while a program runs* becomes the ending of the trace, with its evidence:
a kernel has to survive any program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harness.agent import large_folios, linux
from harness.agent.codec import (
    ACCOUNT,
    BY_HOST,
    DENSE,
    FAULTS,
    FREE_SWAP,
    HASTY,
    OUTSIDE,
    PATIENT,
    PING,
    PROMISED,
    STREAM,
    UNAME,
    UNHURRIED,
    Reader,
    Source,
    View,
    ViewAnswer,
    answers,
    decode_read,
    decode_uname,
    decode_view,
    decode_write,
    encode_program,
    encode_read,
    encode_view,
    encode_write,
    expect,
)
from harness.agent.decode import TraceDecoder
from harness.agent.silent import Silent
from harness.errors import GuestDied, GuestHung, GuestPanicked, GuestTrouble, ProtocolError
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.trace import Ending, Trace
from harness.program.units import PAGE_SIZE
from harness.subject import How


class Link(Protocol):
    """Carries requests to the agent. `last_step` is the step that the agent last said it begins."""

    def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        """Send one request and return its answer. Raises GuestTrouble or ProtocolError."""
        ...

    @property
    def last_step(self) -> int | None:
        """The number of the step that the agent last announced in this request, if any."""
        ...

    @property
    def starved_s(self) -> float:
        """How long in the last request the machine waited for a CPU of the host."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """What a guest turned out to publish, with a reason for each level that it cannot show."""

    view: View
    zero_frame: int
    levels: frozenset[Level]
    missing: dict[Level, str]
    banner: str
    faults_around: bool
    """Whether a file fault may map its neighbours too: the kernel gave us no way to turn that off."""
    counts_kernel_tables: bool
    """Whether the kernel's own page tables are among those that it counts."""


FAULT_AROUND = "/sys/kernel/debug/fault_around_bytes"
SETTINGS = (
    ("/proc/sys/kernel/printk", b"5\n"),  # warnings are findings; notices only cost console time
    ("/proc/sys/debug/exception-trace", b"0\n"),  # a SIGSEGV is what programs are made of
    (FAULT_AROUND, b"4096\n"),  # one fault maps one page, so that presence is exact
    ("/proc/sys/kernel/randomize_va_space", b"0\n"),
    ("/proc/sys/vm/swappiness", b"0\n"),  # nothing is swapped but what a program asks for
    ("/proc/sys/vm/page-cluster", b"0\n"),  # and nothing comes back but what is touched
    ("/proc/sys/kernel/threads-max", b"65536\n"),  # else what memory suggests: with 96 MiB too few for a crowd
)
"""Files written at boot: (path, bytes). A kernel without one of them is fine."""

_LEVELS_OF_FRAMES = (Level.FRAMES, Level.MAPCOUNTS, Level.REFCOUNTS, Level.RSS)
"""What no process can show whose frames nobody knows."""
_VMSTAT_LENGTH = 16 * 1024
_TABLES_ABOVE = 16
"""More than the page tables of one process that VmPTE leaves out: those above the leaves. (A kernel has some 70.)"""
_PATIENCE_S, _VISIT_S = 60.0, 0.002
"""How long a program may take in which idle children load from pages, and for each load; a fault takes some 0.01 ms."""
_STUCK_S = 3.0
"""How long the agent waits for a step, by the guest's clock: PATIENCE ticks; `patience` of messages.c has more and less."""
_STARVED = "the host had no CPU for the machine for {:.1f} s of that time, so look again on a quiet host"
_KEPT_WAITING = "it was ready to run and had little of the CPU, so look again on a quiet host"
_KEYS = ("nr_free_pages", "nr_page_table_pages", "nr_anon_pages", PROMISED)


class AgentClient:
    """Speaks with the agent over a link."""

    def __init__(self, link: Link, *, quiescence: tuple[int, int, int] = (10, 0, 0), huge_pages: bool = False) -> None:
        """Speak over `link` with a guest whose counts lag as `View` says: interval_ms, still and bound_ms; whose
        `huge_pages` are to be tested, if it has any.
        """
        self.link = link
        self._huge_pages = huge_pages
        self._quiescence = quiescence
        self.probe: Probe | None = None
        self.switched_off: tuple[tuple[str, bytes], ...] = ()
        """Settings beside SETTINGS: of a kernel that was booted to give memory several pages at a time."""
        self.has_swap = False
        """Whether the kernel has swap, as `prepare` finds out: the agent's area, which it made at its start."""
        self.is_watched = False
        """Whether somebody looks at the processes from outside, so that the agent shows them at each observation."""

    # ---------------------------------------------------------------- requests

    def _ask(self, *pairs: tuple[bytes, Callable[[Reader], Any]]) -> list[Any]:
        payload = b"".join(command for command, _ in pairs)
        return list(answers(self.link.request(payload), [decode for _, decode in pairs]))

    def read_file(self, path: str, *, offset: int = 0, length: int = 4096) -> bytes | None:
        """Read a file of the guest; None where it cannot be opened."""
        ((errno, data),) = self._ask((encode_read(path, offset=offset, length=length), decode_read))
        return None if errno else data

    def uname(self) -> bytes:
        """Ask for the names that the kernel gives itself; none where it has no such call."""
        (names,) = self._ask((bytes([UNAME]), decode_uname))
        return bytes(names)

    def ping(self) -> str:
        """Ask for a sign of life; returns the agent's hello."""
        ((text,)) = self._ask((bytes([PING]), _decode_ping))
        return str(text)

    def prepare(self) -> Probe:
        """Write the settings, find out what the guest shows, and configure the agent accordingly.

        To be called once after boot. Raises ProtocolError or GuestTrouble.
        """
        self.switched_off = large_folios.to_switch_off(self.read_file, huge_pages=self._huge_pages)
        errors = self._write_settings()
        faults_around = any(errno for (path, _), errno in zip(SETTINGS, errors, strict=True) if path == FAULT_AROUND)
        banner = (self.read_file("/proc/version", length=300) or b"").decode("ascii", "replace").strip()
        self.has_swap = bool(_number_behind(b"SwapTotal:", self.read_file("/proc/meminfo")))
        reasons: dict[Level, str] = {}
        view = self._choose_view(reasons)
        answer = self._configure(view)
        view = self._without_unreadable(view, answer, reasons)
        if not self._counts_rss():
            reasons.setdefault(Level.RSS, "the guest's /proc/PID/status does not tell RssAnon, RssFile and RssShmem")
        levels = _levels(view, answer, reasons)
        self.probe = Probe(view, answer.zero_frame, levels, reasons, banner, faults_around, self._counts_kernel_tables())
        return self.probe

    def _counts_kernel_tables(self) -> bool:
        """Tell whether /proc/vmstat counts more page tables than those of processes: the agent is the only one yet."""
        counted = _number_behind(b"nr_page_table_pages", self.read_file("/proc/vmstat", length=_VMSTAT_LENGTH))
        own = _number_behind(b"VmPTE:", self.read_file("/proc/self/status"))
        return counted is not None and own is not None and counted > own * 1024 // PAGE_SIZE + _TABLES_ABOVE

    def _counts_rss(self) -> bool:
        """Tell whether /proc/PID/status says of how many pages of each kind the resident set is."""
        status = self.read_file("/proc/self/status")
        return all(_number_behind(key, status) is not None for key in (b"RssAnon:", b"RssFile:", b"RssShmem:"))

    def _counts_size(self, reasons: dict[Level, str]) -> bool:
        """Tell whether /proc/PID/statm begins with what the agent's own mappings add up to; else say why not."""
        counted = _number_behind(b"", self.read_file("/proc/self/statm"))
        mapped = linux.mapped_pages(self.read_file("/proc/self/maps", length=_VMSTAT_LENGTH) or b"")
        if counted is None:
            reasons[Level.SIZE] = "the guest has no /proc/PID/statm"
        elif counted != mapped:
            reasons[Level.SIZE] = f"/proc/PID/statm counts {counted} pages where /proc/PID/maps shows {mapped}"
        return counted == mapped

    def reconfigure(self) -> None:
        """Configure again what `prepare` found out, after the guest went back to its snapshot."""
        if self.probe is None:
            self.prepare()
            return
        self._write_settings()
        self._configure(self.probe.view)

    def adopt(self, probe: Probe) -> None:
        """Use what another client of the same guest found out."""
        self.probe = probe

    def _write_settings(self) -> list[int]:
        """Write SETTINGS, and what is to be switched off; gives the errno of each of SETTINGS, 0 where it was written."""
        settings = (*SETTINGS, *(large_folios.HUGE_PAGES if self._huge_pages else ()), *self.switched_off)
        return self._ask(*((encode_write(path, data), decode_write) for path, data in settings))[: len(SETTINGS)]

    def _configure(self, view: View) -> ViewAnswer:
        (answer,) = self._ask((encode_view(view), lambda reader: decode_view(reader, view)))
        assert isinstance(answer, ViewAnswer)
        return answer

    def _choose_view(self, reasons: dict[Level, str]) -> View:
        pagemap = self.read_file("/proc/self/pagemap", length=8)
        maps = self.read_file("/proc/self/maps", length=200)
        if not maps:
            reasons |= dict.fromkeys((Level.MAPPINGS, Level.RSS, Level.SIZE), "the guest has no /proc/PID/maps")
        if not pagemap:
            reasons |= dict.fromkeys(_LEVELS_OF_FRAMES, "the guest has no /proc/PID/pagemap")
        return View(
            pagemap=bool(pagemap),
            maps=bool(maps),
            sizes=bool(maps) and self._counts_size(reasons),
            drain=True,
            interval_ms=self._quiescence[0],
            still=self._quiescence[1],
            bound_ms=self._quiescence[2],
            sources=self._choose_sources(reasons),
            in_use=0,
            accounting="/proc/vmstat",
            promises="/proc/meminfo",
            refresh="/proc/sys/vm/stat_refresh",
            keys=(*_KEYS, FREE_SWAP) if self.has_swap else _KEYS,
            free_lists="/proc/zoneinfo",
        )

    def _choose_sources(self, reasons: dict[Level, str]) -> tuple[Source, ...]:
        head = self.read_file(linux.KCORE, length=linux.HEAD_LENGTH)
        if head:
            source, reason = linux.struct_page_source(head, has_swap=self.has_swap)
            if source:
                return (source,)
        else:
            reason = "the guest has no readable /proc/kcore"
        if self.read_file(linux.KPAGEREFS.path, length=8):
            return (linux.KPAGEREFS,)
        reasons[Level.REFCOUNTS] = reason
        return (linux.KPAGECOUNT, linux.KPAGEFLAGS)

    def _without_unreadable(self, view: View, answer: ViewAnswer, reasons: dict[Level, str]) -> View:
        """Drop what could not be opened, and configure again if that changed anything."""
        readable = tuple(source for source, errno in zip(view.sources, answer.sources, strict=True) if not errno)
        if readable == view.sources and not answer.accounting:
            return view
        if answer.accounting:
            reasons[Level.ACCOUNTING] = "the guest has no /proc/vmstat"
        keys = () if answer.accounting else view.keys
        in_use = 0 if Level.REFCOUNTS not in reasons else 99
        smaller = replace(view, sources=readable, keys=keys, in_use=in_use)
        self._configure(smaller)
        return smaller

    # ---------------------------------------------------------------- programs

    def execute(self, program: Program, how: How, *, timeout_s: float | None = None) -> Trace:
        """Run `program` and return its trace; the guest's trouble is the trace's ending.

        Raises ProtocolError where the answer makes no sense although it came undamaged.
        """
        if self.probe is None:
            raise ProtocolError("the agent was not configured before a program was sent")
        flags = DENSE * how.dense | FAULTS * how.count_faults | ACCOUNT * how.accounting | STREAM * how.dense
        flags |= PATIENT * how.patient
        by_host = self.is_watched and how.outside
        flags |= OUTSIDE * (self.is_watched and (how.pte_bits or by_host)) | BY_HOST * by_host
        flags |= UNHURRIED if how.unhurried else HASTY * how.hasty
        if program.visits:
            timeout_s = _PATIENCE_S + program.visits * _VISIT_S
        try:
            data = self.link.request(encode_program(program, flags=flags), timeout_s=timeout_s)
        except GuestTrouble as trouble:
            return self._broken_off(trouble)
        decoder = TraceDecoder(program, self.probe.view, zero_frame=self.probe.zero_frame, counts_faults=how.count_faults)
        (trace,) = answers(data, [decoder.decode])
        assert isinstance(trace, Trace)
        why = self._starved(trace, decoder.silent, how)
        return replace(trace, is_starved=True, evidence=f"{trace.evidence}\n{why}".strip()) if why else trace

    def _starved(self, trace: Trace, silent: Silent | None, how: How) -> str:
        """Say who had no CPU: the machine of its host, or the process of its machine; empty where they had one."""
        if trace.ending is not Ending.STUCK and not trace.unreaped:
            return ""
        lost, patience_s = self.link.starved_s, _STUCK_S * (10 if how.unhurried else 0.2 if how.hasty else 1)
        if lost > patience_s / 2:
            return _STARVED.format(lost)
        return _KEPT_WAITING if silent is not None and silent.is_kept_waiting(patience_s) else ""

    def _broken_off(self, trouble: GuestTrouble) -> Trace:
        endings = {GuestPanicked: Ending.PANICKED, GuestHung: Ending.HUNG, GuestDied: Ending.DIED}
        ending = endings.get(type(trouble), Ending.DIED)
        evidence = f"{trouble.reason}\n{trouble.console}".strip()
        return Trace(outcomes=(None,) * (self.link.last_step or 0), ending=ending, evidence=evidence)


def _number_behind(key: bytes, text: bytes | None) -> int | None:
    found = re.search(rb"^" + re.escape(key) + rb"\s*(\d+)", text or b"", re.MULTILINE)
    return int(found[1]) if found else None


def _decode_ping(reader: Reader) -> str:
    expect(reader, PING)
    return reader.bytes(len(reader.data) - reader.position).decode("ascii", "replace")


def _levels(view: View, answer: ViewAnswer, reasons: dict[Level, str]) -> frozenset[Level]:
    names = set(view.field_names)
    levels = {Level.OUTCOMES, Level.ALIVE}
    if view.maps and view.pagemap:
        levels.add(Level.MAPPINGS)
    if view.pagemap:
        levels.add(Level.FRAMES)
    if view.pagemap and names & {"map_raw", "mapcount"}:
        levels.add(Level.MAPCOUNTS)
    if view.pagemap and "refcount" in names:
        levels.add(Level.REFCOUNTS)
    if view.keys and not answer.accounting:
        levels |= {Level.ACCOUNTING, Level.PAGE_TABLES}
    if view.maps and view.pagemap and Level.RSS not in reasons:
        levels.add(Level.RSS)
    if view.sizes:
        levels.add(Level.SIZE)
    for level in Level:
        if level not in levels:
            reasons.setdefault(level, "the guest does not publish it")
    return frozenset(levels)
