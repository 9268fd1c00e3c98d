"""Stored run events on the wire: messages, traces and lifecycle of a thread, in pages."""

from __future__ import annotations

from collections.abc import Sequence

from runstead.resources.thread_messages import ROLES
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store.event_store import StoredRunEvent

from .errors import Unprocessable


def from_stored_event(stored: StoredRunEvent) -> JsonObject:
    event = stored.event
    return {
        "seq": stored.seq,
        "run_id": event.run_id,
        "thread_id": event.thread_id,
        "event_type": event.event_type,
        "category": event.category,
        "content": event.content,
        "metadata": event.metadata,
        "created_at": event.created_at,
    }


def message_types(names: Sequence[str] | None) -> Sequence[str]:
    """Return the requested types of messages of a thread. Raises Unprocessable for one that its chat cannot have."""
    if unknown := sorted(set(names or ()) - ROLES):
        raise Unprocessable(f"types: {', '.join(unknown)}: use {', '.join(sorted(ROLES))}")
    return names or ()


def event_page(found: Sequence[StoredRunEvent], *, limit: int, backwards: bool) -> JsonObject:
    """Return a page of up to ``limit`` events from ``limit + 1`` requested ones: an additional event means that there
    are more."""
    has_more = len(found) > limit
    page = (found[-limit:] if backwards else found[:limit]) if has_more else found
    return {"data": [from_stored_event(stored) for stored in page], "has_more": has_more}
