"""Conversion of a run's stream to items for display. Pure, and used for text, JSON and the demo alike.

Supports the stream modes for a chat (messages-tuple, messages, updates, values, custom) in any combination, and the
frames of an interrupted stream: a new attempt, a gap, a message that starts again with another id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from runstead.runtime.json_types import JsonMapping


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt of the run begins to execute."""

    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Said:
    """Part of an AI message: a token, or the whole text."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Calling:
    """Part of a tool call; ``name`` is in its first part."""

    message_id: str
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Result of a tool."""

    name: str
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """Any other item: a custom event, or an update of a node without messages."""

    source: str
    value: Any


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Interrupt of the run. ``response_schema`` describes valid answers, if the graph gives it."""

    interrupt_id: str
    value: Any
    response_schema: Any = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Events between the last one seen and the next one are lost; the state follows instead."""

    missed: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    error: str
    message: str


Item: TypeAlias = Begun | Said | Calling | Returned | Noted | Interrupt | Gap | Failed


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts that models reported."""

    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0

    def plus(self, reported: JsonMapping) -> Usage:
        return Usage(
            self.input_tokens + int(reported.get("input_tokens", 0)),
            self.output_tokens + int(reported.get("output_tokens", 0)),
            self.calls + 1,
        )


@dataclass(slots=True)
class Transcript:
    """Transcript of one run. It keeps track of shown items, so that none is shown twice."""

    usage: Usage = field(default_factory=Usage)
    interrupts: list[Interrupt] = field(default_factory=list)
    failure: Failed | None = None
    attempt: int = 0
    tokens: int = 0
    _said: dict[str, str] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)
    _counted: set[str] = field(default_factory=set)
    _expecting: Literal["initial", "state after a gap", "more"] = "initial"

    def feed(self, event: str, data: Any) -> Iterator[Item]:
        """Yield the items that an event of the stream adds. Frames of subgraphs are treated like those of the graph."""
        kind = event.partition("|")[0]
        if kind == "metadata" and isinstance(data, Mapping) and "run_id" in data:
            yield self._begun(data)
        elif kind == "messages" and isinstance(data, Sequence) and data and isinstance(data[0], Mapping):
            yield from self._message(data[0])
        elif kind in ("messages/partial", "messages/complete"):
            for message in data:
                yield from self._whole(message)
        elif kind == "values" and isinstance(data, Mapping):
            yield from self._values(data)
        elif kind == "updates" and isinstance(data, Mapping):
            yield from self._updates(data)
        elif kind == "custom":
            yield Noted("custom", data)
        elif kind == "gap":
            self._expecting = "state after a gap"
            yield Gap(data.get("missed") if isinstance(data, Mapping) else None)
        elif kind == "error" and isinstance(data, Mapping):
            self.failure = Failed(str(data.get("error", "Error")), str(data.get("message", "")))
            yield self.failure

    def next_run(self) -> Transcript:
        """Return a transcript for the next run on the same thread, whose updates repeat messages that are already
        known."""
        return Transcript(_said=self._said, _shown=self._shown, _counted=self._counted, _expecting="more")

    def is_whole(self, message_id: str) -> bool:
        """Return whether the message is complete: its model has reported the token usage."""
        return message_id in self._counted

    def _begun(self, data: JsonMapping) -> Begun:
        self.attempt = int(data.get("attempt") or 1)
        return Begun(str(data["run_id"]), self.attempt)

    def _message(self, message: JsonMapping) -> Iterator[Item]:
        """Yield the items of a chunk, or of a message that was not streamed, in mode messages-tuple."""
        kind, message_id = str(message.get("type", "")), str(message.get("id") or "")
        if not kind.endswith("MessageChunk"):
            yield from self._whole(message)
            return
        if kind != "AIMessageChunk":
            return
        self._shown.add(message_id)
        if text := text_of(message.get("content")):
            self._said[message_id] = self._said.get(message_id, "") + text
            self.tokens += 1
            yield Said(message_id, text)
        for piece in message.get("tool_call_chunks") or ():
            self.tokens += 1
            yield Calling(message_id, piece.get("name"), str(piece.get("args") or ""))
        self._count(message_id, message.get("usage_metadata"))

    def _whole(self, message: JsonMapping) -> Iterator[Item]:
        """Yield the new part of a message as it stands so far."""
        kind, message_id = str(message.get("type", "")), str(message.get("id") or "")
        if kind == "tool" and message_id not in self._shown:
            self._shown.add(message_id)
            failed = message.get("status") == "error"
            yield Returned(str(message.get("name") or "tool"), text_of(message.get("content")), failed)
        if kind not in ("ai", "AIMessageChunk"):
            return
        text, before = text_of(message.get("content")), self._said.get(message_id, "")
        if text.startswith(before) and len(text) > len(before):
            self._said[message_id] = text
            yield Said(message_id, text[len(before) :])
        self._count(message_id, message.get("usage_metadata"))
        if message_id in self._shown:
            return
        if calls := message.get("tool_calls"):
            self._shown.add(message_id)
            for call in calls:
                yield Calling(message_id, call.get("name"), compact(call.get("args")))

    def _count(self, message_id: str, reported: JsonMapping | None) -> None:
        if reported and message_id not in self._counted:
            self._counted.add(message_id)
            self.usage = self.usage.plus(reported)

    def _values(self, data: JsonMapping) -> Iterator[Item]:
        expecting, self._expecting = self._expecting, "more"
        messages = data.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, Mapping):
                continue
            if expecting == "initial":
                # The first values are the thread's state from before the run.
                message_id = str(message.get("id") or "")
                self._shown.add(message_id)
                self._counted.add(message_id)
                self._said[message_id] = text_of(message.get("content"))
            else:
                yield from self._whole(message)
        yield from self._asked(data.get("__interrupt__"))

    def _updates(self, data: JsonMapping) -> Iterator[Item]:
        for node, update in data.items():
            if node == "__interrupt__":
                yield from self._asked(update)
            elif isinstance(update, Mapping) and "messages" in update:
                messages = update["messages"]
                for message in messages if isinstance(messages, list) else [messages]:
                    if isinstance(message, Mapping):
                        yield from self._whole(message)
                    elif isinstance(message, list) and len(message) == 2:
                        # As the node returned it, before LangGraph converted it to a message: ("ai", "hello").
                        yield Said(f"{node} {self.tokens}", text_of(message[1]))
            elif update:
                yield Noted(node, update)

    def _asked(self, interrupts: object) -> Iterator[Item]:
        known = {interrupt.interrupt_id for interrupt in self.interrupts}
        for asked in interrupts if isinstance(interrupts, list) else ():
            interrupt_id = str(asked.get("id") or asked.get("interrupt_id") or "")
            interrupt = Interrupt(interrupt_id, asked.get("value"), asked.get("response_schema"))
            if interrupt.interrupt_id not in known:
                self.interrupts.append(interrupt)
                yield interrupt


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = (block if isinstance(block, str) else block.get("text", "") for block in blocks)
    return "".join(text for text in texts if isinstance(text, str))


def compact(value: object) -> str:
    """Return a value as text on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
