"""Stream events as server-sent events, byte for byte as the reference writes them.

CRLF; ``event``, then ``data``, then ``id``. The data was encoded once by the publisher and is copied, never parsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from runstead.runtime.stream_bridge import HEARTBEAT_SENTINEL, StreamEvent, StreamItem

HEARTBEAT: Final = b": heartbeat\r\n\r\n"
KEEP_ALIVE: Final = b"\n"
"""What a waiting JSON answer says instead: whitespace, which JSON allows."""

_END: Final = b"\r\n\r\n"
_ID: Final = b"\r\nid: "


def frames(items: Iterable[StreamItem], *, with_ids: bool) -> bytes:
    """The items of one batch as they go out, in one piece; empty when none of them is shown.

    The terminal events of a run that ended or was stopped are not shown: clients know the end by the stream's closing.
    """
    parts: list[bytes] = []
    for item in items:
        if isinstance(item, StreamEvent):
            if item.terminal is None or item.terminal == "error":
                parts += (_prefix(item.event), item.data)
                # An event without an id (most gaps) is not kept; an empty id would make the client forget its place.
                if with_ids and item.id:
                    parts += (_ID, item.id.encode())
                parts.append(_END)
        elif item is HEARTBEAT_SENTINEL:
            parts.append(HEARTBEAT)
    return b"".join(parts)


@lru_cache(maxsize=4_096)
def _prefix(event: str) -> bytes:
    # A namespace holds names of nodes, which are the graph author's: a line break in one must not begin a new field.
    name = event.replace("\r", " ").replace("\n", " ")
    return f"event: {name}\r\ndata: ".encode("utf-8", "replace")
