"""Processor time of a test run by file, processes that the tests started included.

A pytest plugin that is active with ``--progress``: it prints the most expensive files before the last line. Time on
the clock says little about a test on a busy machine; processor time hardly changes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

COLLECTING: Final = "(starting and collecting)"
"""Everything before the first test, in one of xdist's workers or in the only process."""
CONTROLLER: Final = "(assigning and reporting)"
"""xdist's process that runs no test."""
_OUTPUT: Final = "runstead_costs"


class Costs:
    """Processor seconds by file, from readings of a counter at the changes of files."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._read = read
        self._file = COLLECTING
        self._last = 0.0

    def enter(self, file: str) -> None:
        """Charge what follows to ``file``."""
        if file != self._file:
            self.stop()
            self._file = file

    def stop(self) -> None:
        """Charge all until now to the current file."""
        now = self._read()
        # The time of a process that is not waited for disappears with it: the counter may fall.
        self.seconds[self._file] += max(0.0, now - self._last)
        self._last = now


def processor_seconds(root: int | None = None, proc: Path = Path("/proc")) -> float:
    """Return the processor time of this process and its descendants, ended ones included.

    Without /proc, those that still run are not included; a daemon such as PostgreSQL is no descendant anywhere.
    """
    root = os.getpid() if root is None else root
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b") ")[2].split()
        except OSError:
            # It has ended in the meantime.
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(int(field) for field in fields[11:15])
    if root not in ticks:
        return sum(os.times()[:4])
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        total += ticks.get(pid, 0)
        waiting.extend(children.get(pid, ()))
    return total / os.sysconf("SC_CLK_TCK")


def table(seconds: Mapping[str, float], most: int) -> list[str]:
    """Return a line for the sum, and one for each of the ``most`` expensive files."""
    ordered = sorted(seconds.items(), key=lambda one: -one[1])
    files = [f"{spent:8.1f} s  {file}" for file, spent in ordered[:most]]
    rest = sum(spent for _, spent in ordered[most:])
    others = [f"{rest:8.1f} s  {len(ordered) - most} others"] if len(ordered) > most else []
    return [f"{sum(seconds.values()):.0f} s of processor time, by file:", *files, *others]


class _Worker:
    """Hooks of a process that runs tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.costs = Costs(processor_seconds)
        self._config = config

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.costs.enter(item.nodeid.partition("::")[0])
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self.costs.stop()
        # xdist sends it in a wrapper of this hook.
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_OUTPUT] = dict(self.costs.seconds)


class _Printer:
    """Hooks of the process that prints: alone, or the one before xdist's workers."""

    def __init__(self, config: pytest.Config, own: Costs | None) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._own = own
        self._most: int = config.getoption("--costs")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for file, spent in getattr(node, "workeroutput", {}).get(_OUTPUT, {}).items():
            self._seconds[file] += spent

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._own is not None:
            self._seconds.update(self._own.seconds)
        else:
            self._seconds[CONTROLLER] = sum(os.times()[:2])
        if len(self._seconds) > 1 and self._most:
            for line in table(self._seconds, self._most):
                terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--costs", type=int, default=15, metavar="N", help="with --progress, name the N files that cost most"
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--progress"):
        return
    is_worker = hasattr(config, "workerinput")
    runs_tests = is_worker or not getattr(config.option, "tx", None)
    worker = _Worker(config) if runs_tests else None
    if worker is not None:
        config.pluginmanager.register(worker, "costs of tests")
    if not is_worker:
        config.pluginmanager.register(_Printer(config, worker.costs if worker else None), "costs in the summary")
