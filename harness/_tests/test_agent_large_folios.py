"""What gives memory several pages at a time is switched off, and said."""

from __future__ import annotations

from harness.agent.large_folios import HUGE_PAGES, note, to_switch_off

FOLDER = "/sys/kernel/mm/transparent_hugepage/"


def test_a_kernel_that_has_nothing_of_it_is_left_alone() -> None:
    asked: list[str] = []

    settings = to_switch_off(asked.append)

    assert settings == ()
    assert note(settings) == ""
    assert len(asked) == 3


def test_what_is_off_or_only_on_advice_stays() -> None:
    assert to_switch_off(lambda _: b"always inherit [madvise] never\n") == ()
    assert to_switch_off(lambda _: b"always within_size advise [never] deny force\n") == ()


def test_sizes_that_are_on_are_switched_off() -> None:
    on = {FOLDER + "hugepages-64kB/enabled", FOLDER + "hugepages-16kB/shmem_enabled"}

    settings = to_switch_off(lambda path: b"[always] never\n" if path in on else b"always [never]\n")

    assert dict(settings) == dict.fromkeys(on, b"never\n")
    assert note(settings).endswith("hugepages-16kB/shmem_enabled, hugepages-64kB/enabled")


def test_shared_memory_in_large_folios_is_known_without_sizes_too() -> None:
    settings = to_switch_off({FOLDER + "shmem_enabled": b"[always] within_size advise never deny force\n"}.get)

    assert settings == ((FOLDER + "shmem_enabled", b"never\n"),)


def test_huge_pages_are_switched_off_where_they_are_not_tested() -> None:
    is_on = {FOLDER + "enabled": b"[always] madvise never\n"}

    assert to_switch_off(is_on.get) == ((FOLDER + "enabled", b"never\n"),)
    assert to_switch_off(is_on.get, huge_pages=True) == ()
    assert HUGE_PAGES[-1] == (FOLDER + "enabled", b"always\n")
