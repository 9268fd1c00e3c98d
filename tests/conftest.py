"""For all tests: in CI, a test that skips because a server is missing has failed."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.servers.postgres import postgres_schema, postgres_url

__all__ = ["postgres_schema", "postgres_url"]


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
