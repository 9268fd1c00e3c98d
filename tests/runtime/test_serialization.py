"""Encoding never fails, and what it gives is strict JSON."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.types import Interrupt
from pydantic import BaseModel

from runstead.runtime.serialization import describe, encode, jsonable, message_fields


def strictly_decoded(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Form(BaseModel):
    name: str
    parts: list[int] = []


@dataclass
class Box:
    size: float


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), None),
        ({"x": float("inf")}, {"x": None}),
        (b"\x00\xff", "AP8="),
        ({1, 2}, [1, 2]),
        (deque([1]), [1]),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Colour.RED, "red"),
        (Box(1.5), {"size": 1.5}),
        (Form(name="a"), {"name": "a", "parts": []}),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (PurePosixPath("/a/b"), "/a/b"),
        ({1: "one", None: 2}, {"1": "one", "null": 2}),
        ("lone \ud800", "lone ?"),
        ("nul \x00", "nul \x00"),
        (10**30, str(10**30)),
        (ValueError("boom"), {"error": "ValueError", "message": "boom"}),
        (int, "int"),
        (Interrupt(value="go?", id="i1"), None),
    ],
)
def test_what_json_cannot_carry_gets_its_nearest_shape(value: Any, shown: Any) -> None:
    decoded = strictly_decoded(encode(value))
    if isinstance(value, Interrupt):
        assert (decoded["value"], decoded["id"]) == ("go?", "i1")
    else:
        assert decoded == shown


def test_values_nobody_can_show_do_not_stop_those_around_them() -> None:
    shown = jsonable({"lock": threading.Lock(), "hostile": Hostile(), "fine": 1})
    assert shown["fine"] == 1
    assert "lock" in shown["lock"]
    assert shown["hostile"] == "<Hostile>"


def test_a_cycle_and_deep_nesting_end() -> None:
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = cycle
    assert strictly_decoded(encode(cycle))["a"] == 1
    deep: Any = 0
    for _ in range(5_000):
        deep = [deep]
    assert b"nested too deeply" in encode(deep)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists))
def test_encoding_anything_gives_strict_json(value: Any) -> None:
    strictly_decoded(encode(value))


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("hi", id="1"),
        AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}], id="2"),
        AIMessageChunk(content="to", id="3", tool_call_chunks=[]),
        ToolMessage("5", tool_call_id="c1", name="add", id="4"),
        AIMessage("x", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}, extra_field=1),
    ],
)
def test_a_message_is_shown_as_its_own_dump_shows_it(message: Any) -> None:
    assert jsonable(message) == jsonable(message.model_dump())
    assert list(message_fields(message)) == list(message.model_dump())


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("mute")


def test_describing_an_exception_always_gives_text() -> None:
    assert "could not be read" in describe(Mute())
    assert len(describe(ValueError("x" * 1_000_000))) == 10_000
    assert describe(ValueError("\ud800")) == "?"
