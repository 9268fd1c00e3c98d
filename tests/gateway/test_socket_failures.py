"""Failures of WebSockets: close codes, and log lines."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from runstead.gateway.error_middleware import SocketErrorMiddleware
from runstead.wire.errors import NotFound

SCOPE: Any = {"type": "websocket", "path": "/threads/x/stream/events", "headers": []}


class ClientLeft(OSError):
    """Raised like servers do for messages to a client that has disconnected."""


async def connect() -> Message:
    return {"type": "websocket.connect"}


async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
    await WebSocket(scope, receive, send).accept()


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("there is no such thread")


@pytest.mark.parametrize("app", [accepting, refusing])
async def test_client_that_leaves_during_the_handshake_is_not_logged(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(message: Message) -> None:
        raise ClientLeft

    with caplog.at_level(logging.WARNING), pytest.raises(ClientLeft):
        await SocketErrorMiddleware(SocketErrorMiddleware(app))(SCOPE, connect, send)
    assert caplog.text == ""


async def test_failure_of_the_app_is_logged_and_closes_with_4500(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise FileNotFoundError("a file of the app's own")

    await SocketErrorMiddleware(failing)(SCOPE, connect, send)
    assert [(one["type"], one.get("code")) for one in sent] == [("websocket.accept", None), ("websocket.close", 4500)]
    assert "failed" in caplog.text
