"""Events of the protocol as server-sent events: ``event`` is the method, ``id`` the seq."""

from __future__ import annotations

from runstead.runtime.serialization import encode

from ..sse_frames import HEARTBEAT
from .events import ProtocolEvent
from .translator import RESUME_GAP


def frame(event: ProtocolEvent) -> bytes:
    """Return the bytes of one event."""
    data = encode(event.to_json())
    if event.method == RESUME_GAP:
        # Without an id, since this is not an event of the thread: a client that took it as its position would skip the
        # missing events.
        return b"event: " + RESUME_GAP.encode() + b"\r\ndata: " + data + b"\r\n\r\n"
    return b"event: %s\r\ndata: %s\r\nid: %d\r\n\r\n" % (event.method.encode(), data, event.seq)


__all__ = ["HEARTBEAT", "frame"]
