"""The JavaScript SDK's tests and the chats in a browser, against two gateways behind a balancer.

Of the SDK the newest version, and of the chats one page for each set of routes: others differ in the client only, and
run against one server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import GRAPHS, Suites, browser_url, certificate, node, suites
from tests.clients.test_browser import CHATS, Chat, check_chat
from tests.clients.test_javascript_sdk import SDKS, Case, cases, check_sdk
from tests.sdk.server import cluster_serving

__all__ = ["browser_url", "certificate", "node", "suites"]
VERSION = next(iter(SDKS))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster_serving(tmp_path_factory.mktemp("cluster"), GRAPHS) as url:
        yield url


@pytest.mark.parametrize("chat", [chat for chat in CHATS if chat.page != "assistant"], ids=lambda chat: chat.id)
def test_chat(
    chat: Chat, suites: Suites, url: str, browser_url: str, certificate: Path, request: pytest.FixtureRequest
) -> None:
    check_chat(chat, suites, url, browser_url, certificate, request)


@pytest.mark.parametrize("case", [case for case in cases() if case.version == VERSION], ids=lambda case: case.id)
def test_sdk(case: Case, suites: Suites, url: str, request: pytest.FixtureRequest) -> None:
    check_sdk(case, suites, url, request)
