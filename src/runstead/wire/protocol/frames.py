"""Events of the protocol as server-sent events: ``event`` is the method, ``id`` the seq."""

from __future__ import annotations

from runstead.runtime.serialization import encode

from ..frames import HEARTBEAT
from .events import ProtocolEvent
from .translator import RESUME_GAP


def frame(event: ProtocolEvent) -> bytes:
    """One event as it goes out."""
    data = encode(event.to_json())
    if event.method == RESUME_GAP:
        # Not an event of the thread: a client that counted it as its place would skip what it was told of.
        return b"event: " + RESUME_GAP.encode() + b"\r\ndata: " + data + b"\r\n\r\n"
    return b"event: %s\r\ndata: %s\r\nid: %d\r\n\r\n" % (event.method.encode(), data, event.seq)


__all__ = ["HEARTBEAT", "frame"]
