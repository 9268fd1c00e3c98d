"""Request ids, one log line for each request, and the count and the traces of requests.

The id of a request is in all log lines that it causes, in its response, and in the runs that it creates.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

_log = logging.getLogger(__name__)

HEADER: Final = "x-request-id"
REQUEST: Final = "runstead.request"
"""Scope key of the RequestRecord."""
_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_QUIET: Final = ("/ok", "/ready", "/metrics")
"""Paths that machines request all the time: their lines have level debug."""

CountRequest = Callable[[str, str | None, int, float], None]
"""Called with method, route, status and seconds of an answered request. Routes are templates; None: none matched."""


class RequestSpan(Protocol):
    """Span of a request that is being answered."""

    @property
    def origin(self) -> Mapping[str, str]:
        """The trace context, under the keys of a run's configurable."""
        ...

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Record the answer, before the span ends."""
        ...


class _NoSpan:
    """RequestSpan of a server without traces."""

    origin: Mapping[str, str] = MappingProxyType({})

    def answered(self, method: str, route: str | None, status: int) -> None:
        return


TraceRequest = Callable[[str, Mapping[str, str]], AbstractContextManager[RequestSpan]]
"""Called with method and headers of a request; traces it for the duration of a block."""


def no_trace(method: str, headers: Mapping[str, str]) -> AbstractContextManager[RequestSpan]:
    """Trace nothing."""
    return nullcontext(_NoSpan())


@dataclass(slots=True)
class RequestRecord:
    """Facts about a request. Components inside fill in ``route`` and ``user``."""

    request_id: str
    route: str | None = None
    user: str | None = None
    status: int | None = None
    answered_after: float | None = None
    """Seconds until the answer began; set for event streams only."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """The trace context of the request, under the keys of a run's configurable."""


def record_of(scope: Scope) -> RequestRecord | None:
    """Return the record of a request; None if no RequestLog is around it."""
    found = scope.get(REQUEST)
    return found if isinstance(found, RequestRecord) else None


class RequestLog:
    """ASGI middleware around everything else."""

    def __init__(
        self,
        app: ASGIApp,
        count: CountRequest,
        trace: TraceRequest = no_trace,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._count, self._trace, self._monotonic = app, count, trace, monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, record = self._monotonic(), RequestRecord(_request_id(scope))

        async def watched(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = record.request_id
                if headers.get("content-type", "").startswith("text/event-stream"):
                    record.answered_after = self._monotonic() - began
            elif kind == "websocket.accept":
                record.status, record.answered_after = 101, self._monotonic() - began
            elif kind == "websocket.close" and record.status is None:
                record.status = 403
            await send(message)

        method = _method(scope)
        trace = no_trace if scope["path"].endswith(_QUIET) else self._trace
        with bound_contextvars(request_id=record.request_id), trace(method, Headers(scope=scope)) as span:
            record.origin = span.origin
            try:
                await self._app({**scope, REQUEST: record}, receive, watched)
            finally:
                # Without an answer the client has disconnected first.
                status = 499 if record.status is None else record.status
                span.answered(method, record.route, status)
                self._ended(scope, record, status, self._monotonic() - began)

    def _ended(self, scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        method = _method(scope)
        self._count(method, record.route, status, seconds if record.answered_after is None else record.answered_after)
        level = _level(scope["path"], status)
        if not _log.isEnabledFor(level):
            return
        fields = {"method": method, "path": _path(scope), "status": status, "seconds": round(seconds, 4)}
        if record.user is not None:
            fields["user"] = record.user
        _log.log(level, "request answered", extra=fields)


def _method(scope: Scope) -> str:
    method: str = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
    return method


def _level(path: str, status: int) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if path.endswith(_QUIET) else logging.INFO


def _path(scope: Scope) -> str:
    """Return the path as the client sent it, without the query, which may contain secrets."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("ascii", "replace")


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(HEADER, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex
