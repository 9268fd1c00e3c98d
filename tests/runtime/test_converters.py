"""Messages keep their roles on the way in and out."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from runstead.runtime.converters import (
    from_message,
    from_openai,
    last_human_text,
    messages_in,
    text_of,
    to_message,
    to_openai,
)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"role": "user", "content": "a"}, HumanMessage),
        ({"role": "assistant", "content": "a"}, AIMessage),
        ({"type": "ai", "content": "a"}, AIMessage),
        ({"role": "system", "content": "a"}, SystemMessage),
        ({"role": "tool", "content": "a", "tool_call_id": "1"}, ToolMessage),
        (("human", "a"), HumanMessage),
        ("a", HumanMessage),
    ],
)
def test_message_keeps_its_role(given: Any, kind: type) -> None:
    assert isinstance(to_message(given), kind)


@pytest.mark.parametrize("given", [None, 1, {"content": 1}, {"role": "unknown", "content": "a"}, object()])
def test_to_message_returns_none_for_other_values(given: Any) -> None:
    assert to_message(given) is None


def test_messages_of_an_input_are_found_at_any_position() -> None:
    said = {"role": "user", "content": "a"}
    assert [text_of(m) for m in messages_in({"messages": [said, {"role": "assistant", "content": "b"}]})] == ["a", "b"]
    assert [text_of(m) for m in messages_in([said])] == ["a"]
    assert [text_of(m) for m in messages_in({"messages": "a"})] == ["a"]
    assert messages_in({"question": "a"}) == messages_in(None) == messages_in("a") == []


def test_last_human_text_is_the_last_human_one() -> None:
    talk = [("human", "first"), ("human", "second"), ("ai", "answer")]
    assert last_human_text({"messages": talk}) == "second"
    assert last_human_text({"messages": [("ai", "answer")]}) is None


def test_text_blocks_are_joined_and_others_left_out() -> None:
    blocks: Any = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "x"}, "b"]
    assert text_of(HumanMessage(content=blocks)) == "ab"


def test_openai_messages_round_trip() -> None:
    talk = [HumanMessage("a"), AIMessage("b")]
    openai = to_openai(talk)
    assert openai == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert [type(message) for message in from_openai(openai)] == [HumanMessage, AIMessage]


def test_serialized_message_has_its_type() -> None:
    assert from_message(AIMessage("a", id="1"))["type"] == "ai"
