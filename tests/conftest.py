"""Hooks for all tests. In CI, a test that skips because of a missing server fails."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest

from tests.environment import isolate

# Before all other imports: libraries read the environment when imported.
isolate()

pytest_plugins = [
    "pytester",
    "tests.costs",
    "tests.examples",
    "tests.node_ids",
    "tests.progress",
    "tests.slow_files",
    "tests.servers.postgres",
    "tests.servers.profiles",
    "tests.servers.stores",
    "tests.simulation.fixtures",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The import of all tests creates a million permanent objects: exclude them from garbage collection.

    Collections come later too: at Python's own thresholds they take a seventh of the tests' processor time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the number of CPUs, since tests often wait; each brings its own database."""
    return min(os.cpu_count() or 1, 7) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skips that begin with ``missing server`` are for machines without it; CI must have all servers."""
    report = yield
    reason = str(call.excinfo.value) if call.excinfo else ""
    if report.skipped and reason.startswith("missing server") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{reason} (CI=true: not to be skipped)"
    return report
