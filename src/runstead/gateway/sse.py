"""Server-sent events for a run's stream: one send per batch, headers sent at once, disconnects noticed at once.

``send`` waits while the client's buffers are full, so that a stalled reader holds only one batch here and continues
from the log later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from runstead.gateway.streams.thread_events import ThreadEventReader
from runstead.runtime.stream_bridge.contract import StreamItem
from runstead.runtime.stream_bridge.exceptions import BridgeClosed
from runstead.wire.protocol.events import ProtocolEvent
from runstead.wire.sse_frames import HEARTBEAT, frames, protocol_frame

_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
_PIECE: Final = 256 * 1024
"""Maximum bytes per send: what a stalled client can make the server hold in memory, apart from the log that all readers
share."""


class RunReader(Protocol):
    """Interface of a stream: a RunStream, or another one whose frames a subclass of EventStream knows."""

    async def read(self) -> Sequence[Any]: ...

    async def aclose(self) -> None: ...


class EventStream(Response):
    """Response that writes the frames of ``stream`` until it ends or the client disconnects, and closes it."""

    def __init__(self, stream: RunReader, headers: Mapping[str, str], *, with_ids: bool) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({**_HEADERS, **headers})
        self._stream, self._with_ids = stream, with_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(disconnect(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
            await asyncio.shield(self._stream.aclose())

    async def _write(self, send: Send) -> None:
        try:
            while items := await self._stream.read():
                await self._send(send, items)
                # Sending may complete without waiting: yield, so that readers of a long log let other tasks run.
                await asyncio.sleep(0)
        except BridgeClosed:
            # The server shuts down, not the run. The response is cut off without an end, so that clients do not take it
            # for complete: even after the end of the run, a slow reader may not have read everything.
            return
        await send(_body(b"", more=False))

    async def _send(self, send: Send, items: Sequence[StreamItem]) -> None:
        data = self._frames(items)
        for start in range(0, len(data), _PIECE):
            await send(_body(data[start : start + _PIECE], more=True))

    def _frames(self, items: Sequence[StreamItem]) -> bytes:
        return frames(items, with_ids=self._with_ids)


async def disconnect(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class ProtocolEventStream(EventStream):
    """Event stream for a ThreadEventReader, like `EventStream` for a run."""

    def __init__(self, reader: ThreadEventReader) -> None:
        super().__init__(reader, {}, with_ids=True)

    def _frames(self, items: Sequence[object]) -> bytes:
        return b"".join(protocol_frame(item) if isinstance(item, ProtocolEvent) else HEARTBEAT for item in items)
