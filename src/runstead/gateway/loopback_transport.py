"""httpx transport to an ASGI app in this process, with streamed responses.

httpx's own ASGITransport buffers a response until it is complete, so that a run's stream would arrive all at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpx
from starlette.types import ASGIApp, Message, Scope

from runstead.runtime.json_types import JsonObject

_AHEAD: Final = 16
"""Maximum number of messages that the app may have sent and the client not yet read."""
_CLIENT: Final = ("127.0.0.1", 0)

_ANSWERING: Final[set[asyncio.Task[None]]] = set()
"""Asyncio itself keeps only weak references to tasks."""


class LoopbackTransport(httpx.AsyncBaseTransport):
    """Transport for any number of clients and event loops: ``app`` is called on the loop of the request.

    An error of the app is raised by the request, or by the stream if the response has begun. A client that leaves early
    is a disconnect for the app, as on a real connection, and does not cancel it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        exchange.begin(self._app, _scope(request))
        try:
            start = await exchange.next()
        except BaseException:
            exchange.leave()
            raise
        if start is None:
            raise RuntimeError("the server ended without a response")
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=_Body(exchange))


class _Exchange:
    """One request and its response."""

    def __init__(self, body: bytes) -> None:
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._sent: asyncio.Queue[Message | None] = asyncio.Queue(_AHEAD)
        self._left = asyncio.Event()
        self._failure: BaseException | None = None

    def begin(self, app: ASGIApp, scope: Scope) -> None:
        async def answer() -> None:
            try:
                await app(scope, self._receive, self._send)
            except BaseException as error:
                self._failure = error
                if not isinstance(error, Exception):
                    raise
            finally:
                await self._send(None)

        task = asyncio.create_task(answer(), name="loopback request")
        _ANSWERING.add(task)
        task.add_done_callback(_ANSWERING.discard)

    async def next(self) -> Message | None:
        """Return the app's next message; None when it has ended. Raises the app's error."""
        if (message := await self._sent.get()) is not None:
            return message
        if isinstance(self._failure, Exception):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("the server ended the request") from self._failure
        return None

    def leave(self) -> None:
        """Stop reading: for the app, the client is disconnected."""
        self._left.set()
        with contextlib.suppress(asyncio.QueueEmpty):
            # Make room in the queue for an app that waits for it.
            while True:
                self._sent.get_nowait()

    async def _receive(self) -> Message:
        request, self._request = self._request, None
        if request is not None:
            return request
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message | None) -> None:
        if not self._left.is_set():
            await self._sent.put(message)


class _Body(httpx.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._exchange.next()) is not None:
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                return

    async def aclose(self) -> None:
        self._exchange.leave()


def _scope(request: httpx.Request) -> JsonObject:
    path, _, _ = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": path,
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": _CLIENT,
        "root_path": "",
    }
