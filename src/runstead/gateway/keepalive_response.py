"""JSON response that takes long: headers are sent at once, and a newline at intervals keeps the connection alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runstead.runtime.runs.types import RunFailure, RunResult
from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge.exceptions import BridgeClosed
from runstead.wire.errors import problem_of
from runstead.wire.sse_frames import KEEP_ALIVE

from .sse import disconnect

_log = logging.getLogger(__name__)

NO_VALUES: Final = b"{}"


def wait_body(result: RunResult) -> bytes:
    """Return the response body for a waiter: the last values, or the failure in the form that the SDKs raise."""
    if result.failure is not None:
        return encode({"__error__": result.failure.to_json()})
    return result.output or NO_VALUES


class KeepaliveResponse(Response):
    """Response with the result of ``waiting``. If the client disconnects, ``waiting`` is cancelled, and decides on the
    consequences."""

    def __init__(
        self, waiting: Coroutine[object, object, bytes], headers: Mapping[str, str], *, keep_alive: float
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({"content-type": "application/json", **headers})
        self._waiting, self._keep_alive = waiting, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        result = asyncio.create_task(self._result())
        leaving = asyncio.create_task(disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while not result.done() and not leaving.done():
                await asyncio.wait({result, leaving}, timeout=self._keep_alive, return_when=asyncio.FIRST_COMPLETED)
                if not result.done() and not leaving.done():
                    await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
            if result.done() and (body := result.result()) is not None:
                await send({"type": "http.response.body", "body": body, "more_body": False})
        finally:
            for task in (result, leaving):
                task.cancel()
            await asyncio.gather(result, leaving, return_exceptions=True)

    async def _result(self) -> bytes | None:
        """Return the response body. None if the server shuts down first, or cannot read the result at present: the
        response then stays incomplete, the server cuts the connection, and the client reconnects."""
        try:
            return await self._waiting
        except BridgeClosed:
            return None
        except Exception as error:
            problem = problem_of(error)
            if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                _log.warning("a waiting client has to reconnect: %s", error)
                return None
            _log.exception("waiting for a run failed")
            return encode({"__error__": RunFailure("InternalError", problem.detail).to_json()})
