"""Conversion of LangGraph chunks to stream events, encoded once. Each attempt has one encoder, on the agent's loop.

Events have the names and shapes of the LangGraph Platform API, which clients know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from runstead.runtime.runs.error_redaction import REDACTING, ErrorRedactor
from runstead.runtime.runs.interrupts import INTERRUPT
from runstead.runtime.runs.redaction import redact
from runstead.runtime.runs.types import StreamMode
from runstead.runtime.serialization import encode

from ....json_types import JsonMapping, JsonObject
from .partial_answers import PartialAnswers, StreamedAnswers

EncodedEvent: TypeAlias = tuple[str, bytes]
"""Name of the event, with its namespace, and its encoded data."""

_PLACE_KEYS: Final = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


class ChunkEncoder:
    """Encoder of ``(namespace, mode, chunk)`` into events. Also keeps the values that the end of the run needs."""

    def __init__(
        self,
        wanted: frozenset[StreamMode],
        texts: ErrorRedactor = REDACTING,
        answers: StreamedAnswers | None = None,
    ) -> None:
        self._wanted, self._texts = wanted, texts
        self._answers = answers or StreamedAnswers("", PartialAnswers())
        self._parts: dict[str, list[BaseMessageChunk]] = {}
        self._announced: set[str] = set()
        self._metadata: tuple[object, bytes] = (None, b"null")
        self._asked: JsonObject = {}
        self.last_values: object = None
        """Last values of the root graph, not yet encoded, with all interrupts raised so far."""

    def encode(self, namespace: tuple[str, ...], mode: str, chunk: Any) -> Iterator[EncodedEvent]:
        """Yield the events of one chunk."""
        match mode:
            case "values":
                if not namespace:
                    chunk = self.last_values = self._with_interrupts(chunk)
                    self._step_ended(chunk)
                if "values" in self._wanted:
                    yield _name("values", namespace), encode(chunk)
            case "messages":
                yield from self._message(namespace, *chunk)
            case "checkpoints":
                yield _name(mode, namespace), encode(redacted_checkpoint(chunk, self._texts))
            case "debug":
                yield _name(mode, namespace), encode(_redacted_debug(chunk, self._texts))
            case "tasks":
                yield _name(mode, namespace), encode(_redacted_task(chunk, self._texts))
            case _:
                yield _name(mode, namespace), encode(chunk)

    def event(self, event: JsonMapping) -> EncodedEvent:
        """Return the stream event for an event of ``astream_events``."""
        shown = _redacted_metadata(event)
        if isinstance(data := shown.get("data"), Mapping) and "error" in data:
            shown = {**shown, "data": {**data, "error": self._texts.redact(data["error"])}}
        return "events", encode(shown)

    @property
    def shown_interrupts(self) -> Set[str]:
        """Ids of the interrupts in the root graph's last values."""
        return self._asked.keys()

    def _with_interrupts(self, chunk: object) -> object:
        """Return the values with all interrupts so far. LangGraph emits interrupts one by one, and later values of a
        slower branch may contain none."""
        if not isinstance(chunk, Mapping):
            return chunk
        self._asked.update({interrupt.id: interrupt for interrupt in chunk.get(INTERRUPT, ())})
        return {**chunk, INTERRUPT: tuple(self._asked.values())} if self._asked else chunk

    def _step_ended(self, values: object) -> None:
        # The messages streamed in this step are in the state now, and receive no more tokens.
        self._answers.step_ended(values)
        self._parts.clear()
        self._announced.clear()

    def _message(
        self, namespace: tuple[str, ...], message: BaseMessage, metadata: JsonMapping
    ) -> Iterator[EncodedEvent]:
        if isinstance(message, BaseMessageChunk):
            self._remember(namespace, message, metadata)
        if "messages-tuple" in self._wanted:
            data = b"[" + encode(message) + b"," + self._encoded_metadata(metadata) + b"]"
            yield _name("messages", namespace), data
        if "messages" not in self._wanted:
            return
        if message.id is not None and message.id not in self._announced:
            self._announced.add(message.id)
            yield "messages/metadata", b'{%s:{"metadata":%s}}' % (encode(message.id), self._encoded_metadata(metadata))
        if isinstance(message, BaseMessageChunk):
            yield "messages/partial", encode([message_chunk_to_message(self._whole(message))])
        else:
            yield "messages/complete", encode([message])

    def _remember(self, namespace: tuple[str, ...], chunk: BaseMessageChunk, metadata: JsonMapping) -> None:
        key = chunk.id or ""
        if (parts := self._parts.get(key)) is not None:
            parts.append(chunk)
            return
        parts = self._parts[key] = [chunk]
        if not namespace:
            self._answers.begun(key, parts, metadata)

    def _whole(self, chunk: BaseMessageChunk) -> BaseMessageChunk:
        """Return the message so far. The parts are merged each time, so that a token costs one addition."""
        parts = self._parts[chunk.id or ""]
        parts[:] = [sum(parts[1:], start=parts[0])]
        return parts[0]

    def _encoded_metadata(self, metadata: JsonMapping) -> bytes:
        # LangGraph passes the same mapping object for every token of a model call.
        if self._metadata[0] is not metadata:
            self._metadata = (metadata, encode(redact(metadata)))
        return self._metadata[1]


def redacted_checkpoint(chunk: object, texts: ErrorRedactor = REDACTING) -> object:
    """Return a checkpoint frame without the authenticated user, internal keys and full error texts."""
    if not isinstance(chunk, Mapping):
        return chunk
    return {
        **_redacted_metadata(chunk),
        **{key: _redacted_config(chunk[key]) for key in ("config", "parent_config") if chunk.get(key)},
        **({"tasks": [_redacted_task(task, texts) for task in chunk["tasks"]]} if chunk.get("tasks") else {}),
    }


def _redacted_task(task: object, texts: ErrorRedactor) -> object:
    if not isinstance(task, Mapping):
        return task
    shown = _redacted_metadata(task)
    if task.get("error") is not None:
        shown = {**shown, "error": texts.redact(task["error"])}
    if isinstance(task.get("state"), Mapping) and "configurable" in task["state"]:
        shown = {**shown, "state": _redacted_config(task["state"])}
    return shown


def _redacted_metadata(chunk: JsonMapping) -> JsonMapping:
    metadata = chunk.get("metadata")
    return {**chunk, "metadata": redact(metadata)} if isinstance(metadata, Mapping) else chunk


def _redacted_debug(chunk: object, texts: ErrorRedactor) -> object:
    if not isinstance(chunk, Mapping):
        return chunk
    if chunk.get("type") == "checkpoint":
        return {**chunk, "payload": _debug_checkpoint(redacted_checkpoint(chunk["payload"], texts))}
    return {**chunk, "payload": _redacted_task(chunk.get("payload"), texts)}


def _debug_checkpoint(payload: object) -> object:
    """Return the payload with the checkpoint fields that clients use, in addition to LangGraph's configs."""
    if not isinstance(payload, Mapping):
        return payload
    places = {
        "checkpoint": _place(payload.get("config")),
        "parent_checkpoint": _place(payload.get("parent_config")),
    }
    return {**payload, **places, "tasks": [_debug_task(task) for task in payload.get("tasks", ())]}


def _debug_task(task: object) -> object:
    if not (isinstance(task, Mapping) and isinstance(task.get("state"), Mapping) and "configurable" in task["state"]):
        return task
    return {**{key: value for key, value in task.items() if key != "state"}, "checkpoint": _place(task["state"])}


def _place(config: JsonMapping | None) -> JsonObject | None:
    if not config:
        return None
    return {key: config["configurable"][key] for key in _PLACE_KEYS if key in config["configurable"]}


def _redacted_config(config: JsonMapping) -> JsonObject:
    return {"configurable": redact(config.get("configurable", {}))}


def _name(event: str, namespace: tuple[str, ...]) -> str:
    return "|".join((event, *namespace)) if namespace else event
