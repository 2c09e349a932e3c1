"""pytest's entry: wires the plugin of `contracts/plugin` into every run from this directory."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from contracts.plugin import options
from contracts.plugin.every import ALL, run_all
from contracts.plugin.guest import Guest, GuestPlugin
from contracts.plugin.report import ReportPlugin

CONTRACTS = Path(__file__).parent / "contracts"
pytest_addoption = options.pytest_addoption
_PLUGIN = pytest.StashKey[GuestPlugin]()


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, then add the plugin."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs so, and every child would inherit it: nothing could be interrupted any more.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    options.pytest_configure(config)
    guests = GuestPlugin(config)
    config.stash[_PLUGIN] = guests
    config.pluginmanager.register(guests, "pagepact-guest")
    config.pluginmanager.register(ReportPlugin(config, guests), "pagepact-report")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With --guest all run pytest anew for each guest."""
    return run_all(config.invocation_params.args) if config.getoption("--guest") == ALL else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the plugin's self-tests out of `pytest contracts`: they run it themselves, and are asked for by name."""
    asked_for = any("_tests" in str(argument) for argument in config.args)
    return True if collection_path == CONTRACTS / "_tests" and not asked_for else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let -k find a contract by its id as well as by its test's name."""
    marker = item.get_closest_marker("contract")
    if marker is not None:
        item.extra_keyword_matches.add(marker.args[0].id)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --program run that program alone, and leave its test out otherwise; obey --catches, and what takes long."""
    wants_file = config.getoption("--program") is not None
    faults = config.getoption("--catches")
    keep = [item for item in items if (item.get_closest_marker("program_file") is not None) == wants_file]
    if not options.is_long_run() and not faults:
        keep = [item for item in keep if item.get_closest_marker("long_run") is None]
    keep = [item for item in keep if not faults or options.must_catch(item, faults)]
    drop = [item for item in items if item not in keep and item.path.is_relative_to(CONTRACTS)]
    items[:] = [item for item in items if item not in drop]
    config.hook.pytest_deselected(items=drop)


@pytest.fixture(scope="session")
def guest(pytestconfig: pytest.Config) -> Guest:
    """The guest of this run; see --guest. It is the same for all contracts of a worker."""
    return pytestconfig.stash[_PLUGIN].guest()
