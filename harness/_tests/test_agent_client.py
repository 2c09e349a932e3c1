"""The client over the twin: which levels it finds, what it configures, and trouble while a program runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from harness._tests.fake_agent import LINUX, VMCOREINFO, FakeAgent, clipped, kcore, without
from harness.agent.client import FAULT_AROUND, AgentClient, Probe
from harness.agent.linux import mapped_pages
from harness.compare import compare
from harness.errors import BootFailure, GuestDied, GuestHung, GuestPanicked, GuestTrouble, ProtocolError
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.levels import Level
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending
from harness.subject import How
from strategies.programs import programs

EVERYTHING = frozenset(Level) - {Level.PTE_BITS}
STORY = parse_program(
    """
    p0: map a 2 rw private anon
    p0: store a[0] 0x11
    p0: fork p1
    p1: store a[0] 0x22
    p1: crash load b[0]
    p0: wait p1
    """
)


def prepared(files: dict[str, bytes]) -> tuple[FakeAgent, AgentClient, Probe]:
    agent = FakeAgent(files)
    client = AgentClient(agent)
    return agent, client, client.prepare()


# ---------------------------------------------------------------------------------- probing


def test_an_ordinary_linux_shows_everything_but_pte_bits() -> None:
    agent, _, probe = prepared(LINUX)

    assert probe.levels == EVERYTHING
    assert set(probe.missing) == {Level.PTE_BITS}
    assert probe.banner == "Linux version 6.1.0 (twin)"
    assert agent.shown.fields == ["refcount", "map_raw", "lru", "anon"]
    assert agent.configured == 1


BY_FRAMES = {Level.MAPPINGS, Level.FRAMES, Level.MAPCOUNTS, Level.REFCOUNTS, Level.RSS}
"""Counts too: no frame is known whose counts could be asked for."""


@pytest.mark.parametrize(
    ("missing", "lost", "reason"),
    [
        ("/proc/self/pagemap", BY_FRAMES, "the guest has no /proc/PID/pagemap"),
        ("/proc/self/statm", {Level.SIZE}, "the guest has no /proc/PID/statm"),
        ("/proc/self/maps", {Level.MAPPINGS, Level.RSS, Level.SIZE}, "the guest has no /proc/PID/maps"),
        ("/proc/self/status", {Level.RSS}, "the guest's /proc/PID/status does not tell RssAnon, RssFile and RssShmem"),
        ("/proc/vmstat", {Level.ACCOUNTING, Level.PAGE_TABLES}, "the guest has no /proc/vmstat"),
        ("/proc/kcore", {Level.REFCOUNTS}, "the guest has no readable /proc/kcore"),
        ("/proc/version", set(), ""),
    ],
)
def test_what_a_guest_does_not_publish_costs_levels_and_has_a_reason(missing: str, lost: set[Level], reason: str) -> None:
    _, _, probe = prepared(without(missing))

    assert EVERYTHING - probe.levels == lost
    assert reason in {"", *probe.missing.values()}
    assert set(probe.missing) == set(Level) - probe.levels


def test_a_size_that_is_not_that_of_the_mappings_of_the_agent_itself_is_not_looked_at() -> None:
    _, _, probe = prepared({**LINUX, "/proc/self/statm": b"0 0 0 0 0 0 0\n"})

    assert probe.missing[Level.SIZE] == "/proc/PID/statm counts 0 pages where /proc/PID/maps shows 1"
    assert not probe.view.sizes


def test_the_gate_page_is_no_part_of_an_address_space() -> None:
    gate = b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"

    assert mapped_pages(b"00400000-00403000 r-xp 00000000 00:00 1 /init\n" + gate + b"nonsense\n") == 3


def test_without_kcore_mapcounts_and_flags_come_from_their_own_files() -> None:
    agent, _, probe = prepared(without("/proc/kcore"))

    assert agent.shown.fields == ["mapcount", "kflags"]
    assert Level.MAPCOUNTS in probe.levels


def test_a_kcore_that_does_not_describe_struct_page_is_told_with_its_reason() -> None:
    head = kcore(VMCOREINFO.replace("OFFSET(page._refcount)=52\n", ""))

    agent, _, probe = prepared({**LINUX, "/proc/kcore": head})

    assert "OFFSET(page._refcount)" in probe.missing[Level.REFCOUNTS]
    assert agent.shown.fields == ["mapcount", "kflags"]


def test_files_that_cannot_be_opened_are_left_out_and_the_agent_is_told() -> None:
    agent, _, probe = prepared(without("/proc/kcore", "/proc/kpageflags"))

    assert agent.shown.fields == ["mapcount"]
    assert agent.configured == 2
    assert Level.MAPCOUNTS in probe.levels


def test_a_guest_that_publishes_nothing_still_shows_outcomes_and_whether_it_lives() -> None:
    _, client, probe = prepared({})

    trace = client.execute(STORY, How(accounting=True))

    assert probe.levels == {Level.OUTCOMES, Level.ALIVE}
    assert set(probe.missing) == set(Level) - probe.levels
    assert compare(STORY, trace, PRESETS["model"]).conforms
    assert trace.observations[-1].processes[0].vmas is None


def test_fault_around_is_turned_off_where_there_is_a_switch() -> None:
    agent, _, probe = prepared(LINUX)
    _, _, stubborn = prepared(without(FAULT_AROUND))

    assert agent.written[FAULT_AROUND] == b"4096\n"
    assert (probe.faults_around, stubborn.faults_around) == (False, True)


def test_after_a_restore_the_same_is_configured_again() -> None:
    agent, client, _ = prepared(without("/proc/kcore", "/proc/kpageflags"))
    agent.written.clear()

    client.reconfigure()

    assert agent.configured == 3
    assert agent.shown.fields == ["mapcount"]
    assert FAULT_AROUND in agent.written


def test_reconfiguring_before_the_first_probe_probes() -> None:
    client = AgentClient(FakeAgent(LINUX))

    client.reconfigure()

    assert client.probe is not None


def test_a_client_adopts_what_another_found_out() -> None:
    _, _, probe = prepared(LINUX)
    agent = FakeAgent(LINUX)
    client = AgentClient(agent)

    client.adopt(probe)
    client.reconfigure()

    assert (client.probe, agent.configured) == (probe, 1)


def test_a_ping_returns_the_hello() -> None:
    assert AgentClient(FakeAgent()).ping() == "pagepact 1 twin\n"


def test_a_file_is_read_by_parts_and_a_missing_one_is_none() -> None:
    client = AgentClient(FakeAgent({"/x": b"0123456789"}))

    assert client.read_file("/x", offset=3, length=4) == b"3456"
    assert client.read_file("/y") is None


# ---------------------------------------------------------------------------------- programs


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(program=programs())
def test_the_trace_that_comes_back_is_the_one_of_the_kernel_inside(program: Program) -> None:
    agent = FakeAgent(LINUX)
    client = AgentClient(agent)
    client.prepare()
    how = How(dense=True, count_faults=True, accounting=True)

    trace = client.execute(program, how)

    assert agent.programs == [program]
    assert compare(program, trace, PRESETS["model"]).conforms
    twin = clipped(program, ModelGuest().execute(program, how))
    assert (trace.outcomes, trace.faults, trace.outputs) == (twin.outcomes, twin.faults, twin.outputs)
    assert len(trace.observations) == len(twin.observations)


def test_a_planted_fault_is_found_over_the_wire() -> None:
    agent = FakeAgent(LINUX, guest=ModelGuest(faults=["wait-status-wrong"]))
    client = AgentClient(agent)
    client.prepare()

    verdict = compare(STORY, client.execute(STORY, How()), PRESETS["model"])

    assert verdict.first().contracts[0] == "wait.status"


@pytest.mark.parametrize(
    ("lost", "how", "is_starved"),
    [
        (0.0, How(), False),
        (1.4, How(), False),
        (2.6, How(), True),
        (0.5, How(hasty=True), True),
        (2.6, How(unhurried=True), False),
    ],
)
def test_what_does_not_end_while_the_host_is_busy_says_so(lost: float, how: How, is_starved: bool) -> None:
    agent = FakeAgent(LINUX, guest=ModelGuest(faults=["mprotect-loops"]), starved_s=lost)
    client = AgentClient(agent)
    client.prepare()
    program = parse_program("p0: store bss[0] 0x11\np0: protect bss[0] r\np0: store bss[0] 0x22")

    trace = client.execute(program, how)

    assert (trace.ending, trace.is_starved) == (Ending.STUCK, is_starved)
    assert (f"no CPU for the machine for {lost} s" in trace.evidence) == is_starved


def test_what_ends_on_a_busy_host_is_not_held_against_it() -> None:
    agent, client, _ = prepared(LINUX)
    agent.starved_s = 60.0

    assert not client.execute(STORY, How()).is_starved


@pytest.mark.parametrize(
    ("trouble", "ending"),
    [
        (GuestPanicked("Kernel panic - not syncing: x", console="line 1\nline 2"), Ending.PANICKED),
        (GuestHung("no answer within 20 s", console="line 1\nline 2"), Ending.HUNG),
        (GuestDied("the machine rebooted", console="line 1\nline 2"), Ending.DIED),
        (BootFailure("it does not boot", console="line 1\nline 2"), Ending.DIED),
    ],
    ids=["panic", "hang", "death", "anything else"],
)
def test_trouble_while_a_program_runs_is_its_ending_with_the_evidence(trouble: GuestTrouble, ending: Ending) -> None:
    agent, client, _ = prepared(LINUX)
    agent.trouble, agent.last_step = trouble, 3

    trace = client.execute(STORY, How())

    assert trace.ending is ending
    assert trace.evidence == f"{trouble.reason}\nline 1\nline 2"
    assert trace.outcomes == (None, None, None)
    assert not compare(STORY, trace, PRESETS["model"]).conforms


def test_trouble_before_any_step_was_announced_leaves_no_outcome() -> None:
    agent, client, _ = prepared(LINUX)
    agent.trouble = GuestDied("gone")

    trace = client.execute(STORY, How())

    assert (trace.outcomes, trace.evidence) == ((), "gone")


def test_trouble_at_boot_stays_an_error() -> None:
    class Dead(FakeAgent):
        def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
            raise GuestDied("the machine stopped")

    with pytest.raises(GuestDied):
        AgentClient(Dead()).prepare()


def test_an_answer_that_makes_no_sense_is_ours_and_no_finding() -> None:
    class Babbling(FakeAgent):
        def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
            answer = super().request(payload)
            return b"\x02\x63" if payload[0] == 2 else answer

    client = AgentClient(Babbling(LINUX))
    client.prepare()

    with pytest.raises(ProtocolError, match="unknown record 99") as caught:
        client.execute(STORY, How())
    assert caught.value.evidence == b"\x02\x63"


@pytest.mark.parametrize(("counted", "counts"), [(6, False), (19, False), (72, True)])
def test_a_kernel_that_counts_its_own_page_tables_is_told_from_one_that_does_not(counted: int, counts: bool) -> None:
    files = {
        "/proc/vmstat": f"nr_free_pages 7\nnr_page_table_pages {counted}\n".encode(),
        "/proc/self/status": b"Name:\tinit\nVmPTE:\t      12 kB\n",
    }

    _, _, probe = prepared({**LINUX, **files})

    assert probe.counts_kernel_tables == counts


def test_a_kernel_that_does_not_say_what_a_process_has_is_not_said_to_count_its_own() -> None:
    assert not prepared(LINUX)[2].counts_kernel_tables
