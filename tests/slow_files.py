"""Order of test files for xdist: the slowest first, so that no process is left alone with one at the end.

By default xdist begins with the files that have the most tests; the slowest have few, which start servers and
browsers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import pytest

SLOW_FILES: Final = (
    "tests/cluster/test_javascript_clients.py",
    "tests/clients/test_javascript_sdk.py",
    "tests/apps/test_embedded.py",
    "tests/apps/test_cluster.py",
    "tests/simulation/test_schedules.py",
    "tests/cluster/test_faults.py",
    "tests/cluster/storm/test_storm.py",
    "tests/cluster/test_takeover.py",
    "tests/clients/test_browser.py",
    "tests/house/test_later_release.py",
    "tests/processes/test_misbehaving_agents.py",
    "tests/processes/test_crashes.py",
    "tests/processes/test_bad_input.py",
    "tests/house/test_hostile_environment.py",
    "tests/wire/test_description.py",
    "tests/clients/test_deerflow.py",
    "tests/processes/test_memory.py",
    "tests/cluster/test_misconfigured_nodes.py",
    "tests/laws/test_order_under_skewed_clocks.py",
    "tests/processes/test_shutdown.py",
    "tests/processes/test_lost_loops.py",
    "tests/processes/test_resuming.py",
    "tests/cluster/test_lost_loops.py",
    "tests/infra/test_postgres_versions.py",
    "tests/infra/test_procrastinate_dispatch.py",
    "tests/infra/test_redis_streams_shared.py",
    "tests/infra/test_redis_streams_fuzz.py",
    "tests/infra/test_redis_stream_faults.py",
    "tests/transfer/test_full_transfer.py",
    "tests/laws/test_stream_resume.py",
    "tests/cli/test_serving.py",
)
"""Longer than about ten seconds, the slowest first."""


class HasNodeId(Protocol):
    """The used part of a test item."""

    @property
    def nodeid(self) -> str: ...


Test = TypeVar("Test", bound=HasNodeId)


def slow_first(tests: Sequence[Test]) -> list[Test]:
    """Return the tests with slow files first, then by the number of tests in their file; unchanged within a file."""
    places = {file: place for place, file in enumerate(SLOW_FILES)}
    counts = Counter(_file_of(test) for test in tests)

    def order(test: Test) -> tuple[int, int, str]:
        file = _file_of(test)
        return places.get(file, len(places)), -counts[file], file

    return sorted(tests, key=order)


def _file_of(test: HasNodeId) -> str:
    return test.nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    # xdist's own order, in the process that assigns files; not in every version of it.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order them in xdist's workers; a single process keeps pytest's order."""
    if hasattr(config, "workerinput"):
        items[:] = slow_first(items)
