"""`pytest contracts --known FILE`: what is expected to fail, and what is not expected to pass."""

from __future__ import annotations

from pathlib import Path

from contracts._tests.running import run

KNOWN = """
[[divergence]]
contract = "wait.status"
pattern = "{pattern}"
reason = "a killed child is reported as an exit"
[[divergence]]
contract = "errno.table"
reason = "fixed long ago"
"""


def test_a_known_divergence_is_expected_and_another_is_missed(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(KNOWN.format(pattern="p0"), encoding="utf-8")
    chosen = ("--fault", "wait-status-wrong", "-k", "wait_status_is_exact or errno", "--examples", "60", "--seed", "s")

    ran = run(tmp_path, *chosen, "--known", str(file))

    outcomes = {row["contract"]: row["outcome"] for row in ran.results}
    assert ran.status == 0
    assert outcomes["wait.status"] == "expected"
    assert "times: wait.status: a killed child is reported as an exit" in ran.out
    assert "unexpectedly passing: errno.table: fixed long ago" in ran.out
    assert 'type="pytest.xfail"' in (ran.folder / "junit.xml").read_text(encoding="utf-8")


def test_a_finding_beside_the_known_one_stays_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(KNOWN.format(pattern="no finding says this"), encoding="utf-8")

    ran = run(
        tmp_path, "--fault", "wait-status-wrong", "-k", "wait_status_is_exact", "--examples", "60", "--known", str(file)
    )

    assert ran.status == 1
    assert [row["outcome"] for row in ran.results] == ["failed"]
