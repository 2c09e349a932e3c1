"""Command-line options and Hypothesis profiles."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from contracts.contract import Drawing
from contracts.plugin.every import ALL
from harness.errors import PagepactError
from harness.guest.definition import load_definition
from harness.guests import choose_definition
from harness.program.levels import Level
from harness.report.known import KnownDivergence, load_known
from strategies.provider import register_provider

PROFILES = {"local": 100, "ci": 100, "nightly": 5000, "replay": 1}
"""Examples per contract in each profile. Our own, because Hypothesis's `ci` runs the same examples in every shard."""


LONG_RUN = 1000
"""The examples per contract from which on a run is a long one."""


def is_long_run() -> bool:
    """Tell whether the profile and options that were loaded make this a long run."""
    return settings().max_examples >= LONG_RUN


def register_profiles() -> None:
    """Make the profiles known to Hypothesis."""
    backend = register_provider()
    for name, examples in PROFILES.items():
        shrink = () if name == "replay" else (Phase.shrink,)
        settings.register_profile(
            f"pagepact-{name}",
            max_examples=examples,
            phases=(Phase.explicit, Phase.generate, *shrink),
            deadline=None,  # a guest has its own deadlines, and no test depends on speed
            print_blob=False,  # .prog files outlive versions, blobs do not
            database=None,
            backend=backend,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            report_multiple_bugs=False,
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `pytest contracts`."""
    group = parser.getgroup("pagepact", "pagepact: contracts for kernel memory")
    group.addoption("--guest", default="linux", metavar="NAME|FILE.toml", help="the kernel to test (default: linux)")
    group.addoption("--kernel", default=None, metavar="IMAGE", help="another kernel image for the guest")
    group.addoption("--arch", default=None, metavar="NAME", help="the architecture of --kernel (x86_64 or arm64)")
    group.addoption("--append", default="", metavar="WORDS", help="more words for the kernel's command line")
    group.addoption("--known", default=None, metavar="FILE.toml", help="divergences that are expected (README)")
    group.addoption(
        "--fault", action="append", default=[], metavar="NAME", help="switch a planted fault on (guests 'model', 'mini')"
    )
    group.addoption(
        "--catches",
        action="append",
        default=[],
        metavar="FAULT",
        help="run only the contracts that must catch this fault, or one of several",
    )
    group.addoption("--examples", type=int, default=None, metavar="N", help="programs for each contract")
    group.addoption("--steps", type=int, default=30, metavar="N", help="the longest program, in steps (default: 30)")
    group.addoption(
        "--profile", choices=sorted(PROFILES), default=None, help="how much to run (default: local, or ci under CI)"
    )
    group.addoption("--seed", default=None, metavar="TEXT", help="draw the same programs as a run with this seed")
    group.addoption("--program", default=None, metavar="FILE", help="run this one program, and nothing else")
    group.addoption("--json", default=None, metavar="FILE", help="write each contract's result to this file")
    group.addoption("--coverage", default=None, metavar="FILE.html", help="write which situations the run reached")
    group.addoption("--failures", default="failures", metavar="DIR", help="where failing programs are written")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything is started, and load the profile."""
    config.addinivalue_line("markers", "contract(entry, catches): a contract, with the faults that it must catch")
    for level in Level:
        config.addinivalue_line("markers", f"{level}: a contract that needs to see {level.value}")
    config.addinivalue_line("markers", "program_file: runs the program that --program names")
    config.addinivalue_line(
        "markers", "long_run: only where contracts have a thousand examples or more, as nightly, or --catches asks for it"
    )
    register_profiles()
    try:
        _check(config)
    except PagepactError as error:
        raise pytest.UsageError(str(error)) from None
    profile = config.getoption("--profile") or ("ci" if os.environ.get("CI") else "local")
    settings.load_profile(f"pagepact-{profile}")
    examples = config.getoption("--examples")
    if examples is not None:
        settings.register_profile("pagepact-chosen", settings.get_profile(f"pagepact-{profile}"), max_examples=examples)
        settings.load_profile("pagepact-chosen")
    Drawing.max_steps = config.getoption("--steps")


def _check(config: pytest.Config) -> None:
    for name, least in (("--examples", 1), ("--steps", 1)):
        value = config.getoption(name)
        if value is not None and value < least:
            raise pytest.UsageError(f"{name} must be at least {least}, not {value}")
    if config.getoption("--guest") == ALL:
        return  # each guest is checked when its turn comes
    known_divergences(config)
    for name in ("--kernel", "--program"):
        path = config.getoption(name)
        if path is not None and not Path(path).is_file():
            raise pytest.UsageError(f"{name} {path}: there is no such file")
    kernel = config.getoption("--kernel")
    choose_definition(
        config.getoption("--guest"),
        kernel=Path(kernel) if kernel else None,
        faults=tuple(config.getoption("--fault")),
        arch=config.getoption("--arch"),
        append=config.getoption("--append"),
    )


def known_divergences(config: pytest.Config) -> tuple[KnownDivergence, ...]:
    """Read what is known to be wrong with the guest: of --known, or else of its definition."""
    chosen = config.getoption("--known")
    path = Path(chosen) if chosen else load_definition(config.getoption("--guest")).known_divergences
    return load_known(path) if path else ()


def must_catch(item: pytest.Item, faults: list[str]) -> bool:
    """Tell whether a test is a contract that names one of `faults` among those that it must catch."""
    marker = item.get_closest_marker("contract")
    return marker is not None and not set(faults).isdisjoint(marker.kwargs["catches"])


def run_seed(config: pytest.Config) -> str:
    """Give the seed of this run: the one that was asked for, or one that every worker shares."""
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        return str(worker["pagepact_seed"])
    if not hasattr(config, "pagepact_seed"):
        chosen = config.getoption("--seed")
        config.pagepact_seed = chosen or f"{random.SystemRandom().randrange(1 << 32):08x}"  # type: ignore[attr-defined]
    return str(config.pagepact_seed)  # type: ignore[attr-defined]
