"""LangChain messages to and from the shapes that clients speak: LangGraph's wire and OpenAI's.

Roles are kept: an assistant's or a tool's message in an input stays what it is.
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

from .serialization import jsonable, message_fields


def to_message(value: Any) -> BaseMessage | None:
    """A message from what a client may send (a message, ``{"role"|"type", "content"}``, a pair, a string); None when
    it is none.
    """
    try:
        (message,) = convert_to_messages([value])
    except Exception:
        return None
    return message


def from_message(message: BaseMessage) -> dict[str, Any]:
    """A message as LangGraph's wire has it, in JSON values."""
    fields: dict[str, Any] = jsonable(message_fields(message))
    return fields


def to_openai(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages as OpenAI's chat completions have them."""
    converted = convert_to_openai_messages(list(messages))
    return converted if isinstance(converted, list) else [converted]


def from_openai(messages: Sequence[Mapping[str, Any]]) -> list[BaseMessage]:
    """Messages from OpenAI's shape. Raises ValueError for a role that does not exist."""
    return convert_to_messages([dict(message) for message in messages])


def text_of(message: BaseMessage) -> str:
    """The text of a message; its text blocks joined, when its content is made of blocks."""
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else str(block.get("text", ""))
        for block in content
        if isinstance(block, str) or block.get("type") in ("text", None)
    )


def messages_in(value: Any) -> list[BaseMessage]:
    """The messages of an input or a state: its ``messages``, or itself when it is a list; what is no message is left
    out.
    """
    candidates = value.get("messages") if isinstance(value, Mapping) else value
    if candidates is None or isinstance(candidates, (str, bytes)) or not isinstance(candidates, Sequence):
        candidates = [candidates] if isinstance(candidates, (str, BaseMessage)) and isinstance(value, Mapping) else []
    if isinstance(value, Mapping) and isinstance(candidates, tuple) and len(candidates) == 2:
        candidates = [candidates]
    return [message for message in map(to_message, candidates) if message is not None]


def last_human_text(value: Any) -> str | None:
    """The text of the last human message of an input; None when there is none."""
    return next((text_of(m) for m in reversed(messages_in(value)) if isinstance(m, HumanMessage)), None)


def last_ai_text(messages: Sequence[BaseMessage]) -> str | None:
    """The text of the last message of an assistant that has any; None when there is none."""
    return next((text for m in reversed(messages) if isinstance(m, AIMessage) and (text := text_of(m))), None)
