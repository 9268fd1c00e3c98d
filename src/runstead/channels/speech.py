"""Words of the lead agent to the human: while a run streams, and in full from the states around it. Pure.

Texts of subagents and middleware, results of tools and other values of the state do not leave the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import orjson

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.callbacks.callers import LEAD, caller_of, group_of
from runstead.runtime.runs.store.event_store import StoredRunEvent
from runstead.runtime.stream_bridge.contract import StreamEvent

SEPARATOR = "\n\n"


class StreamedSpeech:
    """Text of one run so far, from its ``messages`` events."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._attempt = ""

    @property
    def text(self) -> str:
        return SEPARATOR.join(text for text in self._texts.values() if text.strip())

    def add(self, event: StreamEvent) -> None:
        """Take in an event. A new attempt of the run says everything again."""
        if event.event != "messages":
            return
        attempt = event.id.partition("-")[0]
        if attempt != self._attempt:
            self._texts, self._attempt = {}, attempt
        message, metadata = orjson.loads(event.data)
        if message.get("type") not in ("AIMessageChunk", "ai") or not is_by_lead(metadata):
            return
        key, text = str(message.get("id")), text_of(message)
        is_chunk = message["type"] == "AIMessageChunk"
        self._texts[key] = self._texts.get(key, "") + text if is_chunk else text


def is_by_lead(metadata: JsonMapping) -> bool:
    """Return whether a streamed message is the lead agent's, by its attribution."""
    return group_of(caller_of(metadata.get("tags") or (), metadata)) == LEAD


def said_between(before: bytes | None, after: bytes, foreign: Collection[str]) -> str:
    """Return what the lead said in a run, from the states before and after it (JSON), without ``foreign`` messages."""
    known = {message.get("id") for message in _messages_of(before)} if before else set()
    texts = [
        text_of(message)
        for message in _messages_of(after)
        if message.get("type") == "ai" and message.get("id") not in known and message.get("id") not in foreign
    ]
    return SEPARATOR.join(text for text in texts if text.strip())


def foreign_messages(events: Collection[StoredRunEvent]) -> frozenset[str]:
    """Return the ids of messages that models generated for subagents and middleware: those whose events are traces."""
    return frozenset(
        str(stored.event.content.get("id"))
        for stored in events
        if stored.event.category == "trace" and isinstance(stored.event.content, dict)
    )


def text_of(message: JsonMapping) -> str:
    """Return the text in a message's content; reasoning, images and calls of tools are not part of it."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(_texts_in(blocks))


def _texts_in(blocks: list[Any]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, str):
            yield block
        elif isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _messages_of(values: bytes) -> list[JsonObject]:
    state = orjson.loads(values)
    messages = state.get("messages") if isinstance(state, dict) else None
    return [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
