"""Server-sent events of a thread, until the client disconnects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runstead.gateway.streams.thread_events import ThreadEventReader
from runstead.wire.protocol.events import ProtocolEvent
from runstead.wire.protocol.frames import HEARTBEAT, frame

from .sse import EventStream


class ProtocolEventStream(EventStream):
    """Event stream for a ThreadEventReader, like `EventStream` for a run."""

    def __init__(self, reader: ThreadEventReader) -> None:
        super().__init__(reader, {}, with_ids=True)

    def _frames(self, items: Sequence[Any]) -> bytes:
        return b"".join(frame(item) if isinstance(item, ProtocolEvent) else HEARTBEAT for item in items)
