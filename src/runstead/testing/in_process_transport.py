"""httpx transport for synchronous clients of a server in another thread of this process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp

from runstead.gateway.loopback_transport import LoopbackTransport

T = TypeVar("T")


class InProcessTransport(httpx.BaseTransport):
    """Transport to the app that ``target`` returns, and to the event loop that serves it; streams as they come."""

    def __init__(self, target: Callable[[], tuple[ASGIApp, asyncio.AbstractEventLoop]]) -> None:
        self._target = target

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        app, loop = self._target()

        def run(work: Coroutine[Any, Any, T]) -> T:
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        response = run(LoopbackTransport(app).handle_async_request(request))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = _Body(response.stream, run, loop.is_closed)
        return httpx.Response(response.status_code, headers=response.headers, stream=body)


class _Body(httpx.SyncByteStream):
    def __init__(
        self, body: httpx.AsyncByteStream, run: Callable[[Coroutine[Any, Any, Any]], Any], is_over: Callable[[], bool]
    ) -> None:
        self._body, self._run, self._is_over = body, run, is_over

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._body.__aiter__()

        async def following() -> bytes | None:
            return await anext(chunks, None)

        while (chunk := self._run(following())) is not None:
            yield chunk

    def close(self) -> None:
        if not self._is_over():
            self._run(self._body.aclose())
