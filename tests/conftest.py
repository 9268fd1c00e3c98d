"""For all tests: nobody out there is trusted, and in CI a test that skips because a server is missing has failed."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.servers.postgres import postgres_schema, postgres_url
from tests.servers.profiles import redis_url

__all__ = ["postgres_schema", "postgres_url", "redis_url"]


_TRUSTED = Path(__file__).parent / "servers" / "nobody.pem"


def pytest_configure() -> None:
    """No test calls anybody outside, and each HTTP client reads all certificates that are trusted: one is read sooner
    than the hundreds of this machine.
    """
    os.environ["SSL_CERT_FILE"] = str(_TRUSTED)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing all tests makes a million objects that stay: nobody looks for garbage among them, then or later."""
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
