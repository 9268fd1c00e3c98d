"""The JavaScript SDK's tests and the chats in a browser, unchanged, against two gateways behind a balancer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.conftest import GRAPHS, browser_url, certificate, node, suites
from tests.clients.test_browser import test_chat
from tests.clients.test_javascript_sdk import test_sdk
from tests.sdk.server import cluster_serving

__all__ = ["browser_url", "certificate", "node", "suites", "test_chat", "test_sdk"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster_serving(tmp_path_factory.mktemp("cluster"), GRAPHS) as url:
        yield url
