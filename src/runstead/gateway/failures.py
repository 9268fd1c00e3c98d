"""The last line: whatever a route raises becomes ``{"detail": ...}``, and what nobody expected is logged, not told."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.serialization import encode
from runstead.runtime.storage_fault import StorageFault
from runstead.wire.errors import UNEXPECTED, problem_of

_log = logging.getLogger(__name__)


class Failures:
    """ASGI middleware around the routes, inside of CORS: a browser is to see failures too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            # It hung up in the middle of its own request: nobody is there to be answered.
            return
        except Exception as error:
            problem = problem_of(error)
            if isinstance(error, StorageFault) and (error.passes or error.kind == "keyless"):
                # While it lasts, or until a restart with the key, every request fails in the same place.
                _log.warning("%s %s: %s", scope["method"], scope["path"], error)
            elif isinstance(error, StorageFault) and error.kind in ("full", "read_only"):
                # The same, until the operator has done something; the log may be on the same disk.
                _log.error("%s %s: %s", scope["method"], scope["path"], error)
            elif problem.status == UNEXPECTED or isinstance(error, StorageFault):
                _log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                # Half an answer is out: the server cuts what has no end, and that alone tells the client.
                return
            body = encode(problem.to_json())
            await Response(body, problem.status, problem.headers, "application/json")(scope, receive, send)
