"""Remarks about request fields without effect, added to the response of any route as one header."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.wire.remarks import HEADER

_KEY: Final = "runstead.remarks"


def add_remarks(connection: HTTPConnection, sentences: Iterable[str]) -> None:
    """Add these sentences to the header of the response. Responses on a WebSocket have none."""
    connection.scope.get(_KEY, []).extend(sentences)


class RemarkHeaders:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A list, since inner layers may use a copy of the scope.
        sentences: list[str] = []

        async def remarking(message: Message) -> None:
            if message["type"] == "http.response.start" and sentences:
                headers = MutableHeaders(scope=message)
                own = [headers[HEADER]] if HEADER in headers else []
                headers[HEADER] = "; ".join(dict.fromkeys([*own, *sentences]))
            await send(message)

        await self._app({**scope, _KEY: sentences}, receive, remarking)
