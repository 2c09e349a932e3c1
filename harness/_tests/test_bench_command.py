"""The command `bench`: its arithmetic, its workers on the in-process guest, and its table."""

from __future__ import annotations

import io
import json
from itertools import repeat
from pathlib import Path
from typing import ClassVar

import pytest

from harness.commands.bench_machine import draw_programs, measure_model
from harness.commands.bench_rounds import RemoteWorker, Rounds, rate, round_measurements, run_rounds
from harness.commands.bench_table import Measurement, Target, number, table_lines
from harness.commands.bench_views import OUTSIDE, PROGRAMS, SPARSE, WAYS, measure_views, view_measurements
from harness.commands.bench_worker import STAGES, ProgramStream, Round, TimedLink, Watch, Worker
from harness.commands.children import Children
from harness.commands.cli import run
from harness.errors import RigError
from harness.guest.definition import load_definition
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.text import parse_program

PROGRAM = parse_program(
    "p0: map a 1 rw private anon\np0: store a[0] 9\np0: fork p1\np0: store a[0] 1\nobserve\np1: exit 0\n"
)


def stages(**seconds: float) -> dict[str, float]:
    """Give the seconds of each stage, 0 where nothing is said."""
    return {stage: seconds.get(stage, 0.0) for stage in STAGES}


# ------------------------------------------------------------------------------- arithmetic


def test_the_rate_of_one_worker_is_its_examples_by_its_time() -> None:
    assert rate([Round(began=10.0, finished=[11.0, 12.0, 14.0])]) == pytest.approx(0.75)


def test_the_rate_of_two_counts_only_the_time_in_which_both_ran() -> None:
    first = Round(began=0.0, finished=[1.0, 2.0, 3.0, 4.0])
    second = Round(began=1.5, finished=[2.5, 3.5, 4.5])

    assert rate([first, second]) == pytest.approx(5 / 2.5)


def test_rounds_become_rates_shares_and_a_ratio() -> None:
    alone = Round(0.0, [1.0, 2.0], stages(guest=1.5, draw=0.5), steps=24, processes=6, resident_bytes=10**8)
    pair = (Round(4.0, [5.0, 6.0], stages(guest=2.0)), Round(4.0, [5.0, 6.0], stages(guest=2.0)))
    found = {each.name: each for each in round_measurements(Rounds((alone,), (pair,)))}

    assert found["one worker"].value == pytest.approx(1.0)
    assert found["two workers"].value == pytest.approx(2.0)
    assert found["two workers to one"].met
    assert found["  waiting for the guest"].samples == (75.0,)
    assert found["  waiting for the guest"].note == "750.00 ms an example"
    assert found["host memory of a guest"].value == pytest.approx(100)


def test_a_guest_that_is_no_machine_has_no_memory_to_show() -> None:
    alone = Round(0.0, [1.0], stages(guest=1.0))

    names = [each.name for each in round_measurements(Rounds((alone,), ((alone, alone),)))]

    assert "host memory of a guest" not in names


def test_looks_from_outside_are_set_against_looks_at_the_end() -> None:
    rates = {way: [40.0, 50.0] for way in WAYS} | {OUTSIDE: [20.0, 60.0]}

    found = {each.name: each for each in view_measurements(rates, [0.1, 0.2])}

    assert len(found) == len(WAYS) + 2
    assert found[SPARSE.name].samples == (40.0, 50.0)
    assert found["after every step, outside, to end"].samples == (0.5, 1.2)
    assert not found["after every step, outside, to end"].met
    assert found["a look from outside"].met


def test_every_way_to_look_is_measured_on_a_machine() -> None:
    program = parse_program("p0: map a 1 rw private anon\np0: store a[0] 1\np0: fork p1\np1: store a[0] 2")
    try:
        found = measure_views(load_definition("mini"), [program] * 2 * PROGRAMS)
    except RigError as error:
        pytest.skip(f"no machine to test: {error}")

    assert [len(each.samples) for each in found] == [1] * (len(WAYS) + 2)
    assert all(each.value for each in found)


# ------------------------------------------------------------------------------- the table


def test_a_measurement_is_the_median_and_says_how_much_it_varied() -> None:
    measured = Measurement("boot", "s", (2.0, 9.0, 3.0), Target(3, at_least=False))

    assert measured.row() == ("boot", "3.00 s", "2.00–9.00, 3 times", "≤ 3", "")
    assert measured.to_json()["met"] is True


def test_a_missed_target_says_so() -> None:
    measured = Measurement("one worker", "examples/s", (40.0,), Target(60, at_least=True, aim=120))

    assert measured.row()[3] == "≥ 60 (aim 120)  MISSED"
    assert not measured.met


def test_what_could_not_be_had_meets_no_target() -> None:
    measured = Measurement("fault x", "examples", (), Target(300, at_least=False), "not found")

    assert measured.row() == ("fault x", "none", "", "≤ 300  MISSED", "not found")
    assert json.loads(json.dumps(measured.to_json()))["value"] is None


def test_numbers_have_three_digits_or_so() -> None:
    assert [number(each) for each in (7, 0.123, 12.34, 123.4, 12345.6)] == ["7", "0.12", "12.3", "123", "12,346"]


def test_the_columns_of_the_table_stand_below_each_other() -> None:
    lines = table_lines([Measurement("a", "s", (1.0,)), Measurement("long name", "", (2.0,))])

    assert [line.index(cell) for line, cell in zip(lines, ("value", "1.00", "2.00"), strict=True)] == [13] * 3


# ------------------------------------------------------------------------------- workers


def test_a_round_counts_what_its_programs_hold() -> None:
    worker = Worker(ModelGuest(), lambda: (PROGRAM, 0.0))

    done = worker.run(0.0)

    assert len(done.finished) == 1
    assert (done.steps, done.processes, done.observations) == (6, 2, 2)
    assert done.findings == 0
    assert done.resident_bytes is None


def test_the_stages_of_a_round_add_up_to_its_time() -> None:
    worker = Worker(ModelGuest(), lambda: (PROGRAM, 0.0))
    done = worker.run(0.1)

    spent = sum(done.stages.values())

    assert list(done.stages) == list(STAGES)
    assert 0.5 < spent / (done.finished[-1] - done.began) <= 1.0


def test_a_worker_leaves_out_what_its_guest_cannot_do() -> None:
    class WithoutMadvise(ModelGuest):
        lacking: ClassVar = {"advise": "ENOSYS"}

    program = parse_program("p0: map a 1 rw private anon\np0: advise a[0] dontneed\np0: store a[0] 1")

    assert Worker(WithoutMadvise(), lambda: (program, 0.0)).run(0.0).steps == 2


def test_a_faulty_guest_is_noticed() -> None:
    worker = Worker(ModelGuest(faults=["cow-shares"]), lambda: (PROGRAM, 0.0))

    assert worker.run(0.0).findings == 1


def test_a_link_passes_requests_on_and_takes_their_time() -> None:
    class Echo:
        last_step = 7
        starved_s = 0.5

        def request(self, payload: bytes, *, timeout_s: float | None = None) -> bytes:
            return payload + str(timeout_s).encode()

    watch = Watch()
    link = TimedLink(Echo(), watch)

    assert link.request(b"x", timeout_s=2.0) == b"x2.0"
    assert (link.last_step, link.starved_s) == (7, 0.5)
    assert watch["link"] > 0


def test_programs_are_drawn_in_another_process() -> None:
    with Children() as children:
        programs = draw_programs(children, 3)
        stream = ProgramStream(children, 0, count=3)
        streamed = [stream.next() for _ in range(3)]

    assert [program for program, _ in streamed] == programs
    assert all(seconds > 0 for _, seconds in streamed)


def test_a_stream_that_ends_is_trouble_and_no_hang() -> None:
    with Children() as children:
        stream = ProgramStream(children, 0, count=1)
        stream.next()

        with pytest.raises(RigError, match="the stream of programs ended"):
            stream.next()


def test_two_workers_run_by_turns() -> None:
    with Children() as children:
        workers = [RemoteWorker(children, "model", number) for number in (1, 2)]
        headers = [worker.wait_ready()["header"] for worker in workers]
        rounds = run_rounds(workers, 0.25)

    assert headers[0][0].startswith("guest: model")
    assert len(rounds.all) == 15
    assert all(each.finished for each in rounds.all)


def test_a_worker_that_cannot_start_says_why() -> None:
    with Children() as children:
        worker = RemoteWorker(children, "nonesuch", 1)

        with pytest.raises(RigError, match="nonesuch"):
            worker.wait_ready()


def test_the_model_alone_is_measured_in_steps() -> None:
    measured = measure_model([*repeat(PROGRAM, 20)], PRESETS["linux-6.1"])

    assert measured.unit == "steps/s"
    assert min(measured.samples) > 0


# ------------------------------------------------------------------------------- the command


def test_the_numbers_of_the_in_process_guest_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"

    status = run(["bench", "--guest", "model", "--seconds", "1", "--json", str(file)])

    shown = capsys.readouterr().out
    names = [each["name"] for each in json.loads(file.read_text())["measurements"]]
    assert status == 0
    assert {"one worker", "two workers to one", "model alone"} <= set(names)
    assert all(name in shown for name in names)
    assert "boot" not in shown.partition("\n\n")[2]


def test_a_worker_ends_with_its_orders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("0\n"))

    status = run(["bench", "--guest", "model", "--worker", "5"])

    ready, done = capsys.readouterr().out.splitlines()
    assert status == 0
    assert "levels" in json.loads(ready)
    assert Round(**json.loads(done)).finished


def test_an_unknown_guest_gets_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["bench", "--guest", "nonesuch"])

    assert status == 2
    assert "nonesuch" in capsys.readouterr().err
