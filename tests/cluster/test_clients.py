"""The Python clients' tests of runs, threads and streams, unchanged, against two gateways behind a balancer.

The others run here too with ``RUNSTEAD_TEST_PROFILE=cluster pytest tests/sdk``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.conftest import GRAPHS
from tests.sdk.server import cluster_serving
from tests.sdk.test_runs import *  # noqa: F403  (they are to run here too)
from tests.sdk.test_thread_joins import *  # noqa: F403


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster_serving(tmp_path_factory.mktemp("cluster"), GRAPHS) as url:
        yield url
