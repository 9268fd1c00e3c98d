"""Requests that steer: valid and invalid messages, and fields that cannot be combined with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runstead.wire.errors import Unprocessable
from runstead.wire.steering import INJECT, steering_input
from tests.wire.records import spec_of


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "give either message"),
        ({"message": "a", "messages": ["b"]}, "give either message"),
        ({"messages": []}, "1 to 100"),
        ({"messages": ["x"] * 100 + ["y"]}, "at most 100"),
        ({"message": {"role": "assistant", "content": "x"}}, "user or the system"),
        ({"message": {"role": "user", "content": ""}}, "content"),
        ({"message": {"role": "user", "content": "x", "id": 7}}, "id"),
        ({"message": 7}, "a message is"),
        ({"message": {"role": "user", "content": [1]}}, r"messages\.0\.content"),
        ({"message": {"role": "user", "content": "x", "name": 5}}, r"messages\.0\.name"),
        ({"message": {"role": "user", "content": "x", "additional_kwargs": 3}}, r"messages\.0: LangChain"),
        ({"message": {"role": "system", "content": "x", "response_metadata": "s"}}, "response_metadata"),
        ({"message": {"role": "user", "content": "x", "tool_calls": 3}}, r"messages\.0: LangChain"),
    ],
)
def test_invalid_message_is_refused(body: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError if "at most" in problem else Unprocessable, match=problem):
        steering_input(INJECT.validate_python(body).to_input())


def test_messages_get_the_form_of_langchain_and_an_id() -> None:
    given = {"messages": ["a", {"role": "system", "content": [{"type": "text", "text": "b"}], "id": "own"}]}
    first, second = steering_input(given)["messages"]
    assert (first["type"], first["content"], len(first["id"])) == ("human", "a", 36)
    assert second == {"type": "system", "content": [{"type": "text", "text": "b"}], "id": "own"}


@pytest.mark.parametrize(
    "fields",
    [
        {"input": {"messages": ["x"], "files": {}}},
        {"input": "x"},
        {"command": {"goto": "model"}},
        {"webhook": "https://example.org/"},
        {"after_seconds": 5},
        {"interrupt_before": ["model"]},
        {"secrets": {"key": "value"}},
    ],
)
def test_run_that_steers_is_refused_with_what_a_run_that_is_going_on_cannot_get(fields: dict[str, Any]) -> None:
    body = {"assistant_id": "agent", "multitask_strategy": "steer", "input": {"messages": ["x"]}, **fields}
    with pytest.raises(Unprocessable, match="multitask_strategy"):
        spec_of(json.dumps(body).encode())
