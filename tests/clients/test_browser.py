"""Chats in a real Chromium, made with the published clients, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Suites
from .node import CLIENTS
from .suite import titles_of

FILE = CLIENTS / "browser" / "chat.test.mjs"
PAGES = (("react", "sse"), ("react", "websocket"), ("legacy", ""), ("assistant", ""))
"""Page and transport: @langchain/react, the older useStream, assistant-ui."""


class Chat(NamedTuple):
    page: str
    transport: str
    title: str

    @property
    def id(self) -> str:
        return " ".join(part for part in self if part)


CHATS = [Chat(page, transport, title) for page, transport in PAGES for title in titles_of(FILE)]


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.id)
def test_chat(
    chat: Chat, suites: Suites, url: str, browser_url: str, certificate: Path, request: pytest.FixtureRequest
) -> None:
    check_chat(chat, suites, url, browser_url, certificate, request)


def check_chat(
    chat: Chat, suites: Suites, url: str, browser_url: str, certificate: Path, request: pytest.FixtureRequest
) -> None:
    chosen = [item.callspec.params.get("chat") for item in request.session.items if hasattr(item, "callspec")]
    titles = [each.title for each in chosen if isinstance(each, Chat) and each[:2] == chat[:2]]
    variables = {
        "CLIENT": chat.page,
        "TRANSPORT": chat.transport,
        "SERVER_URL": url,
        "BROWSER_URL": browser_url,
        "CERTIFICATE": str(certificate),
    }
    suites(FILE, variables, titles).check(chat.title, chat.id)
