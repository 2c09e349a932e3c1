"""What a person sees: the report of a failure, the head and the summary of a run, its results as JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from contracts.contract import ContractViolation
from contracts.plugin.findings import broken_contract
from contracts.plugin.guest import GuestPlugin, violation_of
from contracts.plugin.options import run_seed
from contracts.plugin.progress import SHOW_EVERY_S, progress_line, read_workers
from harness.compare.verdict import Verdict
from harness.errors import BootFailure, GuestTrouble, PagepactError, RigError
from harness.report.coverage import coverage_html
from harness.report.failure import failure_text
from harness.report.summary import RunNumbers, summary_lines

TROUBLE = (RigError, BootFailure, GuestTrouble)

TROUBLE_STATUS = 2
"""pytest's exit status where there is no guest to test: as `python -m harness` has it for trouble."""


def trouble_text(error: BaseException) -> str:
    """Write what went wrong on our side, with the evidence: there is no use in a traceback."""
    console = getattr(error, "console", "")
    return f"{type(error).__name__}: {error}" + (f"\n\nThe last lines of its console:\n{console}" if console else "")


class ReportPlugin:
    """Writes reports and summaries, in this process and for its workers."""

    def __init__(self, config: pytest.Config, guests: GuestPlugin) -> None:
        self.config = config
        self.guests = guests
        self.is_worker = hasattr(config, "workerinput")
        self.numbers = RunNumbers()
        self.started = time.monotonic()
        self.reported: set[str] = set()
        self.results: list[dict[str, Any]] = []
        self.about_guest: list[str] = []
        self.folder: Path | None = None
        self.done = threading.Event()

    # ------------------------------------------------------------------ head

    def pytest_report_header(self) -> list[str]:
        """Name the guest and the seed, and how to draw the same programs again."""
        if not self._runs_contracts():
            return []
        seed = f"pagepact: guest {self.config.getoption('--guest')}, seed {run_seed(self.config)}"
        if self.is_worker:
            return [seed]
        return [seed, *self.about_guest]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the guest. Where it cannot be, say so once, and not for each contract again."""
        if self.is_worker or not self._runs_contracts():
            return
        try:
            self.about_guest = self.guests.guest().runner.subject.header()
        except PagepactError as error:
            pytest.exit(trouble_text(error), returncode=TROUBLE_STATUS)
        if self.config.getoption("numprocesses", None):
            self.guests.close()  # the workers have guests of their own, and start from the snapshot that this one left

    def _runs_contracts(self) -> bool:
        named = any("contracts" in str(argument) and "_tests" not in str(argument) for argument in self.config.args)
        return named and not self.config.getoption("collectonly")

    # ------------------------------------------------------------------ failures

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put our report in the place of a traceback; make trouble of our own an error, not a failure."""
        report = yield
        marker = item.get_closest_marker("contract")
        if marker is None:
            return report
        if call.excinfo is not None and isinstance(call.excinfo.value, TROUBLE):
            report.longrepr = trouble_text(call.excinfo.value)
            report.when = "setup"  # pytest calls what fails outside the call an ERROR: it is no finding
        found = violation_of(call.excinfo) or self._late_finding(call, report)
        if found is not None:
            found = self._shortened(item, found)
            report.longrepr = self._explain(item, found)
        if found is None:
            self._mark_expected(report)
        if report.when == "call":
            self._note_result(item, report, found)
        return report

    def _mark_expected(self, report: pytest.TestReport) -> None:
        """Report a contract that was broken only in ways that are known as pytest reports what is expected to fail."""
        guest = self.guests.opened
        if guest is not None and guest.expected and report.when == "call" and report.passed:
            report.outcome = "skipped"
            report.wasxfail = "; ".join(map(str, guest.expected))

    def _late_finding(self, call: pytest.CallInfo[None], report: pytest.TestReport) -> ContractViolation | None:
        """Fail a contract whose test did not: a program that had conformed alone diverged after others had run."""
        guest = self.guests.opened
        if guest is None or guest.finding is None or call.when != "call" or not report.passed:
            return None
        report.outcome = "failed"
        return ContractViolation(guest.finding, broken_contract(guest.finding, guest.contract))

    def _shortened(self, item: pytest.Item, found: ContractViolation) -> ContractViolation:
        """Leave out what a finding does not need, but for a program that somebody asked for as it is."""
        if item.get_closest_marker("program_file") is not None or Phase.shrink not in settings().phases:
            return found
        return ContractViolation(self.guests.guest().shortened(found.verdict, found.contract), found.contract)

    def _explain(self, item: pytest.Item, found: ContractViolation) -> str:
        """Write the failing program to its file, and the report."""
        runner = self.guests.guest().runner
        explained: Verdict | None = None
        try:
            explained = runner.explain(found.verdict)
        except (RigError, GuestTrouble):
            explained = None  # the finding stands; only its dense view is missing
        self.reported.add(found.contract)
        item.user_properties.append(("steps", len(found.verdict.program)))
        findings = self.guests.guest().findings
        return failure_text(
            found.verdict,
            contract=found.contract,
            explained=explained,
            replay=findings.replay(found.verdict, found.contract),
            guest=self.config.getoption("--guest"),
        )

    def _note_result(self, item: pytest.Item, report: pytest.TestReport, found: ContractViolation | None) -> None:
        guest = self.guests.opened
        self.results.append(
            {
                "contract": item.get_closest_marker("contract").args[0].id,  # type: ignore[union-attr]
                "test": item.nodeid,
                "outcome": "expected" if hasattr(report, "wasxfail") else report.outcome,
                "broken": found.contract if found else None,
                "steps": len(found.verdict.program) if found else None,
                "file": guest.findings.file(found.contract) if guest and found else None,
                "examples": guest.examples_to_find if guest and found else None,
                "seconds_to_find": guest.seconds_to_find if guest and found else None,
                "seconds": report.duration,
            }
        )

    # ------------------------------------------------------------------ the end

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Collect this process's numbers; a finding that no test reported makes the run fail."""
        self.done.set()
        guest = self.guests.opened
        if guest is not None and session.exitstatus != pytest.ExitCode.INTERRUPTED and self._shrinks:
            guest.shorten_others(self.reported)
        self._collect()
        if self.is_worker:
            session.config.workeroutput["pagepact"] = self.numbers.to_json()  # type: ignore[attr-defined]
            session.config.workeroutput["pagepact_results"] = self.results  # type: ignore[attr-defined]
            return
        if self.numbers.others and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        target = self.config.getoption("--json")
        if target:
            Path(target).write_text(json.dumps(self.results, indent=1))
        page = self.config.getoption("--coverage")
        if page:
            text = coverage_html(self.numbers.situations, programs=self.numbers.programs)
            Path(page).write_text(text, encoding="utf-8")
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _collect(self) -> None:
        guest = self.guests.opened
        if guest is None:
            return
        self.numbers.add(guest.runner.statistics, time.monotonic() - guest.opened_at)
        self.numbers.skipped.update(self.guests.skipped)
        ran = {row["contract"] for row in self.results}
        self.numbers.expected.update({str(each): guest.met[each] for each in guest.known if each.contract in ran})
        for contract in guest.others:
            if contract not in self.reported:
                self.numbers.others.setdefault(contract, guest.findings.file(contract, beside=True))

    @property
    def _shrinks(self) -> bool:
        """Whether findings are shortened: not where one program is run as it is, nor where planted faults are counted."""
        return Phase.shrink in settings().phases and not self.config.getoption("--catches")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was run, reached, skipped, and found beside."""
        lines = summary_lines(self.numbers)
        if not lines:
            return
        terminalreporter.section("pagepact")
        for line in lines:
            terminalreporter.write_line(line)

    # ------------------------------------------------------------------ workers

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give each worker the seed of the run, and a place for its numbers."""
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="pagepact-"))
            threading.Thread(target=self._show_workers, daemon=True).start()
        node.workerinput["pagepact_seed"] = run_seed(self.config)
        node.workerinput["pagepact_progress"] = str(self.folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:  # noqa: ARG002
        """Take over a worker's numbers. One that was killed has none; its tests are reported by xdist."""
        output = getattr(node, "workeroutput", None) or {}
        if "pagepact" in output:
            self.numbers.merge(output["pagepact"])
            self.results += output["pagepact_results"]

    def _show_workers(self) -> None:
        terminal = self.config.pluginmanager.getplugin("terminalreporter")
        while not self.done.wait(SHOW_EVERY_S):
            assert self.folder is not None
            programs, tests = read_workers(self.folder)
            if terminal is not None and programs:
                terminal.ensure_newline()
                terminal.write_line(progress_line(programs, time.monotonic() - self.started, tests))
