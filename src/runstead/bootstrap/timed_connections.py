"""Connections with time limits and memory limits that uvicorn's protocols lack."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    # Which of uvicorn's two protocols it is depends on the installed packages; they have the same attributes.
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    HttpProtocol = AutoHTTPProtocol

_DETAIL: Final = b'{"detail":"The headers of the request were not sent in time"}'
_TIMED_OUT: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_DETAIL), _DETAIL)
)
_PONGS_AT_MOST: Final = 1024 * 1024
"""Maximum bytes that may wait to be sent to a client that sends pings and does not read."""


class TimedHttp(HttpProtocol):
    """Connection that is closed if its client is slow.

    The headers of a request must arrive within ``seconds`` after the connection was made, or after their first byte;
    between two parts of a body no more than that may pass. Idle connections between two requests are limited only by
    the server's ``timeout_keep_alive``.
    """

    def __init__(self, *args: Any, seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._has_begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start(self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            # The connection is closing, or has become a WebSocket.
            self._stop()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._stop()
            self._has_begun = False
            if self.cycle.more_body:
                self._start(self._close_unless_paused)
        elif self.cycle is before and not self._has_begun:
            self._has_begun = True
            self._stop()
            self._start(self._time_out)

    def send_400_response(self, msg: str) -> None:
        """Respond to a malformed request. If its headers were valid, the application may already be processing it."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        super().send_400_response(msg)

    def _start(self, act: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(self._seconds, act)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self.transport.write(_TIMED_OUT)
        self.transport.close()

    def _close_unless_paused(self) -> None:
        if self.flow.read_paused:
            # The server has not yet consumed the data that the client has sent.
            self._start(self._close_unless_paused)
        elif self.cycle is None or (self.cycle.more_body and not self.cycle.response_complete):
            self._close()

    def _close(self) -> None:
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """WebSocket that is cut off if pings make it buffer more responses than its client reads."""

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > _PONGS_AT_MOST:
            self.transport.abort()
