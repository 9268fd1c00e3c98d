"""Hooks for all tests. In CI a test that skips because a server is missing has failed."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest

from tests.environment import isolate

# Before anything else is imported: libraries read the environment when they are.
isolate()

pytest_plugins = [
    "tests.examples",
    "tests.node_ids",
    "tests.progress",
    "tests.slow_files",
    "tests.servers.postgres",
    "tests.servers.profiles",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing all tests makes a million objects that stay: the garbage collector skips them, then and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, for much of what tests do is waiting; each brings its own database."""
    return min(os.cpu_count() or 1, 7) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skips that begin with ``missing server`` are for machines that have none; CI has to have them all."""
    report = yield
    reason = str(call.excinfo.value) if call.excinfo else ""
    if report.skipped and reason.startswith("missing server") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{reason} (CI=true: not to be skipped)"
    return report
