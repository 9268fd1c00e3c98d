"""Conversion of LangChain messages to and from the formats of clients: LangGraph's and OpenAI's.

Roles are kept, also for an assistant's or a tool's message in an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    convert_to_messages,
    convert_to_openai_messages,
)

from .json_types import JsonMapping, JsonObject
from .serialization import jsonable, message_fields


def to_message(value: Any) -> BaseMessage | None:
    """Return a message from a client's value (a message, ``{"role"|"type", "content"}``, a pair or a string); None if
    it is not a message."""
    try:
        (message,) = convert_to_messages([value])
    except Exception:
        return None
    return message


def from_message(message: BaseMessage) -> JsonObject:
    """Return a message in LangGraph's wire format, as JSON values."""
    fields: JsonObject = jsonable(message_fields(message))
    return fields


def to_openai(messages: Sequence[BaseMessage]) -> list[JsonObject]:
    """Return messages in the format of OpenAI's chat completions."""
    converted = convert_to_openai_messages(list(messages))
    return converted if isinstance(converted, list) else [converted]


def from_openai(messages: Sequence[JsonMapping]) -> list[BaseMessage]:
    """Return messages from OpenAI's format. Raises ValueError for an unknown role."""
    return convert_to_messages([dict(message) for message in messages])


def text_of(message: BaseMessage) -> str:
    """Return the text of a message. If its content consists of blocks, their texts are joined."""
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else str(block.get("text", ""))
        for block in content
        if isinstance(block, str) or block.get("type") in ("text", None)
    )


def messages_in(value: object) -> list[BaseMessage]:
    """Return the messages of an input or a state: its ``messages``, or the value itself if it is a list. Other values
    are left out."""
    candidates = value.get("messages") if isinstance(value, Mapping) else value
    if candidates is None or isinstance(candidates, (str, bytes)) or not isinstance(candidates, Sequence):
        candidates = [candidates] if isinstance(candidates, (str, BaseMessage)) and isinstance(value, Mapping) else []
    if isinstance(value, Mapping) and isinstance(candidates, tuple) and len(candidates) == 2:
        candidates = [candidates]
    return [message for message in map(to_message, candidates) if message is not None]


def last_human_text(value: object) -> str | None:
    """Return the text of the last human message of an input; None if there is none."""
    return next((text_of(m) for m in reversed(messages_in(value)) if isinstance(m, HumanMessage)), None)


def last_ai_text(messages: Sequence[BaseMessage]) -> str | None:
    """Return the text of the last assistant message that has any; None if there is none."""
    return next((text for m in reversed(messages) if isinstance(m, AIMessage) and (text := text_of(m))), None)
