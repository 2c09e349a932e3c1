"""`--guest all`: the command line of each guest."""

from __future__ import annotations

from contracts.plugin.every import arguments_for
from harness.guest.definition import every_guest


def test_each_guest_has_its_name_and_files_of_its_own() -> None:
    given = ["contracts", "--guest", "all", "--junitxml=out/j.xml", "--json", "r.json", "-k", "fork", "--examples=3"]

    assert arguments_for("mini", given) == [
        *("contracts", "--guest=mini", "--junitxml=out/j-mini.xml", "--json=r-mini.json"),
        *("-k", "fork", "--examples=3"),
    ]


def test_a_guest_without_a_kernel_of_its_own_is_left_out() -> None:
    assert "custom" not in every_guest()
    assert {"model", "mini", "linux"} <= set(every_guest())
