from __future__ import annotations

from pathlib import Path

from harness.guest.starved import Starvation


def write(proc: Path, delays: dict[int, str]) -> Starvation:
    for thread, stat in delays.items():
        task = proc / "7" / "task" / str(thread)
        task.mkdir(parents=True, exist_ok=True)
        (task / "schedstat").write_text(stat)
    return Starvation(7, proc)


def test_the_thread_counts_that_has_lost_most_since_the_mark(tmp_path: Path) -> None:
    starvation = write(tmp_path, {7: "100 1000000000 3\n", 8: "100 5000000000 3\n"})
    starvation.mark()
    write(tmp_path, {7: "900 3500000000 9\n", 8: "100 6000000000 3\n", 9: "1 500000000 1\n"})

    assert starvation.seconds() == 2.5


def test_a_host_that_counts_nothing_has_taken_nothing(tmp_path: Path) -> None:
    assert Starvation(7, tmp_path).seconds() == 0
    assert write(tmp_path, {7: "", 8: "no numbers here"}).seconds() == 0
