"""Server in a thread of this process: one start, from its first request to its stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import ASGIApp

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving

IN_PROCESS: Final = "http://127.0.0.1"
"""URL of a server without a socket."""
_LONGEST_STOP: Final = 60


class ServerNode:
    """One started server. ``listens``: it has a port, instead of requests in memory alone."""

    def __init__(self, application: Application, *, listens: bool) -> None:
        """Start the server, and return once it serves. Raises the errors of the start."""
        self._application, self._listens = application, listens
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-server", daemon=True)
        self._thread.start()
        started: Future[str] = Future()
        self._served = asyncio.run_coroutine_threadsafe(self._serve(started), self._loop)
        try:
            self._served.add_done_callback(lambda served: _fail(started, served))
            self.url = started.result()
        except BaseException:
            self._end_thread()
            raise

    def target(self) -> tuple[ASGIApp, asyncio.AbstractEventLoop]:
        """Return the app, and the event loop that serves it."""
        return self._application.asgi, self._loop

    def stop(self) -> None:
        """Stop the server. Idempotent."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        try:
            self._served.result(_LONGEST_STOP)
        finally:
            self._end_thread()

    async def _serve(self, started: Future[str]) -> None:
        async with serving(self._application) if self._listens else _in_memory(self._application) as url:
            started.set_result(url)
            await self._stopping.wait()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LONGEST_STOP)
        self._loop.close()


def _fail(started: Future[str], served: Future[None]) -> None:
    """Pass the error of a failed start on."""
    if not started.done():
        started.set_exception(served.exception() or RuntimeError("the server ended before it served"))


@asynccontextmanager
async def _in_memory(application: Application) -> AsyncIterator[str]:
    async with application.running():
        yield IN_PROCESS
