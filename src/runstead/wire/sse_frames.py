"""Server-sent events: frames of runs, byte for byte as the reference writes them, and of the event protocol."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge.contract import HEARTBEAT_SENTINEL, StreamEvent, StreamItem

from .protocol.events import ProtocolEvent
from .protocol.translator import RESUME_GAP

HEARTBEAT: Final = b": heartbeat\r\n\r\n"
KEEP_ALIVE: Final = b"\n"
"""Whitespace that a waiting JSON response sends as its heartbeat; JSON allows it."""

_END: Final = b"\r\n\r\n"
_ID: Final = b"\r\nid: "


def frames(items: Iterable[StreamItem], *, with_ids: bool) -> bytes:
    """Return the bytes of one batch of items, in one piece; empty if none of them is sent.

    Terminal events of runs that ended normally or were stopped are not sent: for clients, the end of the stream is the
    end of the run.
    """
    parts: list[bytes] = []
    for item in items:
        if isinstance(item, StreamEvent):
            if item.terminal is None or item.terminal == "error":
                parts += (_prefix(item.event), item.data)
                # Events without an id (most gaps) are not stored. An empty id would reset the client's position.
                if with_ids and item.id:
                    parts += (_ID, item.id.encode())
                parts.append(_END)
        elif item is HEARTBEAT_SENTINEL:
            parts.append(HEARTBEAT)
    return b"".join(parts)


@lru_cache(maxsize=4_096)
def _prefix(event: str) -> bytes:
    # A namespace contains node names, which the author of the graph chooses: a line break in one must not start a new
    # field.
    name = event.replace("\r", " ").replace("\n", " ")
    return f"event: {name}\r\ndata: ".encode("utf-8", "replace")


def protocol_frame(event: ProtocolEvent) -> bytes:
    """Return the bytes of one event."""
    data = encode(event.to_json())
    if event.method == RESUME_GAP:
        # Without an id, since this is not an event of the thread: a client that took it as its position would skip the
        # missing events.
        return b"event: " + RESUME_GAP.encode() + b"\r\ndata: " + data + b"\r\n\r\n"
    return b"event: %s\r\ndata: %s\r\nid: %d\r\n\r\n" % (event.method.encode(), data, event.seq)
