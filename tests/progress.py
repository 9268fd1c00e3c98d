"""Progress of a long test run: slow and failed tests by name as they end, counts every half minute, and a last
line.

A pytest plugin that is active with ``--progress``, in place of pytest's dots. The last line comes after pytest's
own summary and gives the number of tests run, and of those skipped by reason.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Final

import pytest

SLOW: Final = 10.0
"""Seconds after which a test is named when it ends."""
FAILURE_LINES: Final = 20
"""Lines of a failure's message that are printed immediately."""
EVERY: Final = 30.0
"""Seconds between two lines of counts."""


class Progress:
    """Counts of one run, and the lines to print about it. Safe to use from two threads."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self._write, self._now = write, now
        self._lock = threading.Lock()
        self._began = now()
        self._running: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._outcomes: dict[str, str] = {}
        self._reasons: Counter[str] = Counter()

    def start(self, nodeid: str) -> None:
        """Record the start of a test."""
        with self._lock:
            self._running[nodeid] = self._now()

    def add(self, report: pytest.TestReport) -> None:
        """Count one phase of a test; print a line if the test has failed, or has ended and was slow."""
        with self._lock:
            self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
            if report.failed:
                self._outcomes[report.nodeid] = "failed"
                self._write("\n    ".join([f"FAILED {report.nodeid} ({report.when})", *failure_of(report)]))
            elif report.skipped:
                self._outcomes[report.nodeid] = "skipped"
                self._reasons[reason_of(report)] += 1
            elif report.when == "call":
                self._outcomes[report.nodeid] = "passed"
            if report.when == "teardown":
                self._end(report.nodeid)

    def _end(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        if (seconds := self._seconds.pop(nodeid)) >= SLOW:
            self._write(f"{seconds:6.1f} s  {nodeid}")

    def print_counts(self) -> None:
        """Print how far the run has come, and the test that has been running longest if it is slow."""
        with self._lock:
            now = self._now()
            counts = Counter(self._outcomes.values())
            done = len(self._outcomes)
            percent = 100 * done // self.total if self.total else 0
            line = f"[{percent:3d}%] {done} of {self.total} tests after {now - self._began:.0f} s, {_counts(counts)}"
            if self._running:
                nodeid, began = min(self._running.items(), key=lambda one: one[1])
                if now - began >= SLOW:
                    line += f"; running for {now - began:.0f} s: {nodeid}"
            self._write(line)

    def last_line(self, deselected: int = 0) -> str:
        """Return the number of tests run, and of those skipped by reason."""
        with self._lock:
            counts = Counter(self._outcomes.values())
            ran = counts["passed"] + counts["failed"]
            line = f"{ran} tests were run: {counts['passed']} passed, {counts['failed']} failed"
            if missing := self.total - len(self._outcomes):
                line += f"; {missing} not reached"
            if deselected:
                line += f"; {deselected} deselected"
            if not self._reasons:
                return f"{line}; none skipped"
            reasons = ", ".join(f"{count} ({reason})" for reason, count in self._reasons.most_common())
            return f"{line}; {counts['skipped']} skipped: {reasons}"


def failure_of(report: pytest.TestReport) -> list[str]:
    """Return the location and the first lines of a failure; pytest prints it completely when all tests have ended."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return []
    return [f"{crash.path}:{crash.lineno}", *crash.message.splitlines()[:FAILURE_LINES]]


def reason_of(report: pytest.TestReport) -> str:
    """Return the reason for a skip, in one line."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split()) or "no reason given"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("failed", "skipped"))


class ProgressPlugin:
    """Hooks of the process that prints: alone, or the one before xdist's workers."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self.progress = Progress(self._print)
        self._ended = threading.Event()
        self._printer = threading.Thread(target=self._print_counts, name="progress", daemon=True)
        self._printer.start()

    def _print(self, line: str) -> None:
        self._terminal.ensure_newline()
        self._terminal.write_line(line, flush=True)

    def _print_counts(self) -> None:
        while not self._ended.wait(EVERY):
            self.progress.print_counts()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.progress.total = max(self.progress.total, len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self.progress.total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.progress.start(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.progress.add(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, tuple[str, str, object], tuple[str, str, object]]:
        """Keep pytest's categories, which its summary counts, without a letter for each test."""
        category, _, _ = yield
        return category, "", ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._ended.set()
            self._print(self.progress.last_line(len(self._terminal.stats.get("deselected", ()))))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--progress", action="store_true", help="name slow tests, print counts, and say what was skipped")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--progress") and terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ProgressPlugin(terminal), "progress")
