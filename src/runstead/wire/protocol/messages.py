"""Messages channel: messages of models, from ``message-start`` to ``message-finish``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject

from .blocks import Blocks, Data, blocks_of
from .events import Namespace

Said: TypeAlias = tuple[Namespace, Data]
"""Namespace and data of a message event."""


@dataclass(slots=True)
class _Message:
    """Message that is still being streamed."""

    message_id: str
    blocks: Blocks = field(default_factory=Blocks)
    usage: JsonObject | None = None
    metadata: JsonObject = field(default_factory=dict)


class MessageTranslator:
    """Messages of one run, from the chunks of ``messages-tuple``."""

    def __init__(self) -> None:
        self._open: dict[tuple[Namespace, str], _Message] = {}

    def feed(self, namespace: Namespace, message: JsonMapping, metadata: JsonMapping) -> Iterator[Said]:
        """Yield the events of one stream entry: a chunk, or a message that has arrived whole."""
        if message.get("type") == "ai":
            yield from ((namespace, data) for data in _whole(message, metadata))
        if message.get("type") != "AIMessageChunk":
            return
        key = (namespace, str(message.get("id") or ""))
        if (found := self._open.get(key)) is None:
            found = self._open[key] = _Message(key[1])
            yield namespace, _start(found.message_id, metadata)
        found.usage = _added(found.usage, message.get("usage_metadata"))
        found.metadata.update(message.get("response_metadata") or {})
        for data in found.blocks.feed(message):
            yield namespace, self._addressed(namespace, found, data)
        if message.get("chunk_position") == "last":
            yield from self._finish(key)

    def step_ended(self, namespace: Namespace) -> Iterator[Said]:
        """Finish the open messages in or below a namespace, since its node has returned."""
        for key in [key for key in self._open if key[0][: len(namespace)] == namespace]:
            yield from self._finish(key)

    def cut_off(self, reason: str) -> Iterator[Said]:
        """End all open messages with an error: the run, or this attempt of it, has ended."""
        for key in list(self._open):
            message = self._open.pop(key)
            yield key[0], self._addressed(key[0], message, {"event": "error", "message": reason})

    def _finish(self, key: tuple[Namespace, str]) -> Iterator[Said]:
        message = self._open[key]
        for data in [*message.blocks.finish(), _end(message.usage, message.metadata)]:
            yield key[0], self._addressed(key[0], message, data)
        del self._open[key]

    def _addressed(self, namespace: Namespace, message: _Message, data: Data) -> Data:
        """Return the data with the message's id if several messages are open in this namespace. Otherwise only the
        start event has the id."""
        if sum(key[0] == namespace for key in self._open) < 2:
            return data
        # Clients look for the id under either name.
        return {**data, "message_id": message.message_id, "run_id": message.message_id}


def _whole(message: JsonMapping, metadata: JsonMapping) -> Iterator[Data]:
    yield _start(str(message.get("id") or ""), metadata)
    blocks = Blocks()
    for block in blocks_of(message):
        yield from blocks.whole(block)
    yield _end(message.get("usage_metadata"), message.get("response_metadata") or {})


def _start(message_id: str, metadata: JsonMapping) -> Data:
    start: Data = {"event": "message-start", "role": "ai", "id": message_id}
    if node := metadata.get("langgraph_node"):
        start["metadata"] = {"langgraph_node": node}
    return start


def _end(usage: JsonMapping | None, metadata: JsonMapping) -> Data:
    end: Data = {"event": "message-finish"}
    if usage:
        end["usage"] = dict(usage)
    if metadata:
        end["metadata"] = dict(metadata)
    return end


def _added(before: JsonObject | None, more: object) -> JsonObject | None:
    """Return the sum of two partial token counts."""
    if not isinstance(more, dict):
        return before
    if before is None:
        return dict(more)
    total = dict(before)
    for key, value in more.items():
        if isinstance(value, dict):
            total[key] = _added(total.get(key) if isinstance(total.get(key), dict) else None, value)
        elif isinstance(value, (int, float)):
            total[key] = (total.get(key) or 0) + value
    return total
