"""Removal of empty message fields: a state is sent whole at every step, and most fields of a message are empty."""

from __future__ import annotations

from typing import Any, Final

from runstead.runtime.json_types import JsonObject

_TYPES: Final = frozenset(("human", "ai", "system", "tool", "function", "remove", "chat", "AIMessageChunk"))
_EMPTY: Final = frozenset(
    (
        "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls", "usage_metadata", "name",
        "tool_call_chunks", "chunk_position", "example",
    )
)  # fmt: skip
"""Fields that are left out if they are empty."""


def slim_state(state: object) -> object:
    """Return a state, or a part of one, without empty message fields."""
    if not isinstance(state, dict):
        return state
    return {key: _slim_channel(value) for key, value in state.items()}


def slim_message(message: JsonObject) -> JsonObject:
    return {key: value for key, value in message.items() if value or key not in _EMPTY}


def is_message(value: object) -> bool:
    return isinstance(value, dict) and "content" in value and value.get("type") in _TYPES


def _slim_channel(value: Any) -> object:
    if isinstance(value, list):
        return [slim_message(one) if is_message(one) else one for one in value]
    return slim_message(value) if is_message(value) else value
