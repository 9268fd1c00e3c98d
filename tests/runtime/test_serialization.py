"""Encoding never fails, and its result is strict JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, SecretStr

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
def test_value_not_expressible_in_json_is_approximated(value: Any, shown: Any) -> None:
    decoded = strictly_decoded(encode(value))
    if isinstance(value, Interrupt):
        assert (decoded["value"], decoded["id"]) == ("go?", "i1")
    else:
        assert decoded == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (timedelta(seconds=90, microseconds=5), 90.000005),
        (1 + 2j, "1+2j"),
        (re.compile("a+"), "a+"),
        (re.compile(b"a+"), "YSs="),
        (ip_address("10.0.0.1"), "10.0.0.1"),
        (ip_network("2001:db8::/32"), "2001:db8::/32"),
        (Send("x", {"a": deque([1])}), {"node": "x", "args": {"a": [1]}}),
        (Decimal(7), 7),
        (Decimal("1E+3"), 1000.0),
        (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        (UTC, "UTC"),
        (SecretStr("hush"), "**********"),
        (range(3), [0, 1, 2]),
        ({(1, 2): "pair", Colour.RED: "red", 3: "three"}, {"(1, 2)": "pair", "red": "red", "3": "three"}),
    ],
    ids=str,
)
def test_values_of_the_standard_library_are_shown_as_the_reference_shows_them(value: Any, shown: Any) -> None:
    assert strictly_decoded(encode(value)) == shown
    assert strictly_decoded(encode({"deep": [value], "slow": "\ud800"}))["deep"] == [shown]


NUMPY: list[tuple[Any, Any]] = [
    (np.float64(0.5), 0.5),
    (np.float32(0.1), 0.1),
    (np.array([0.1], dtype="f4"), [0.1]),
    (np.float16(0.25), 0.25),
    (np.longdouble(0.25), 0.25),
    (np.float64("nan"), None),
    (np.int64(7), 7),
    (np.uint8(7), 7),
    (np.bool_(True), True),
    (np.complex128(1 + 2j), "1+2j"),
    (np.str_("text"), "text"),
    (np.bytes_(b"\x00\xff"), "AP8="),
    (np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
    (np.datetime64("NaT"), None),
    (np.timedelta64(90, "s"), 90.0),
    (np.array([[1.0, 2.0], [3.0, float("nan")]]), [[1.0, 2.0], [3.0, None]]),
    (np.array([[1, 2], [3, 4]]).T, [[1, 3], [2, 4]]),
    (np.array(5), 5),
    (np.array([1 + 2j]), ["1+2j"]),
    (np.array(["a", None, Colour.RED], dtype=object), ["a", None, "red"]),
    (np.array(["2026-01-02", "NaT"], dtype="M8[ns]"), ["2026-01-02T00:00:00", None]),
    (np.array([90_000_000_000], dtype="m8[ns]"), [90.0]),
    (np.array([(1, 0.5)], dtype=[("a", "i4"), ("b", "f8")]), [{"a": 1, "b": 0.5}]),
    (np.ma.masked_array([1, 2], [False, True]), [1, None]),
    ({np.int64(1): "one"}, {"1": "one"}),
]
PANDAS: list[tuple[Any, Any]] = [
    (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    (
        pd.DataFrame({"t": [pd.Timestamp("2026-01-02", tz="UTC"), pd.NaT]}),
        [{"t": "2026-01-02T00:00:00+00:00"}, {"t": None}],
    ),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), [{"a": 1, "a.1": 2}]),
    (pd.DataFrame([[1, 2, 3, 4]], columns=["a", "a", "a.1", "a"]), [{"a": 1, "a.2": 2, "a.1": 3, "a.3": 4}]),
    (pd.DataFrame([[1, 2]], columns=[1, "1"]), [{"1": 1, "1.1": 2}]),
    (pd.DataFrame({1: [2]}), [{"1": 2}]),
    (pd.DataFrame(), []),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Series([0.5, None]), [0.5, None]),
    (pd.Series([1, None], dtype="Int64"), [1, None]),
    (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
    (pd.Index(["a"]), ["a"]),
    (pd.Timestamp("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05+00:00"),
    (pd.Timedelta(seconds=90), 90.0),
    (pd.NaT, None),
    (pd.NA, None),
    (pd.Period("2026-01"), "2026-01"),
    (pd.Interval(0, 1), "(0, 1]"),
    ({pd.Timestamp("2026-01-02"): 1}, {"2026-01-02T00:00:00": 1}),
]


@pytest.mark.parametrize(("value", "shown"), [*NUMPY, *PANDAS], ids=repr)
def test_values_of_numpy_and_pandas_are_shown_as_the_nearest_json(value: Any, shown: Any) -> None:
    assert strictly_decoded(encode(value)) == shown
    # Next to a value that has to be encoded the slow way.
    assert strictly_decoded(encode({"deep": [value], "slow": "\ud800"}))["deep"] == [shown]


def test_neither_numpy_nor_pandas_is_imported_by_runstead() -> None:
    code = (
        "import sys, runstead.runtime.serialization as s, runstead.bootstrap.application;"
        "s.encode({'a': object(), 'b': [1 + 2j]}); print({'numpy', 'pandas'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_unserializable_value_does_not_affect_its_neighbours() -> None:
    shown = jsonable({"lock": threading.Lock(), "hostile": Hostile(), "fine": 1})
    assert shown["fine"] == 1
    assert "lock" in shown["lock"]
    assert shown["hostile"] == "<Hostile>"


def test_cycle_and_deep_nesting_end() -> None:
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
def test_message_is_shown_as_its_own_dump_shows_it(message: Any) -> None:
    assert jsonable(message) == jsonable(message.model_dump())
    assert list(message_fields(message)) == list(message.model_dump())


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("mute")


def test_describing_an_exception_always_gives_text() -> None:
    assert "could not be read" in describe(Mute())
    assert len(describe(ValueError("x" * 1_000_000))) == 10_000
    assert describe(ValueError("\ud800")) == "?"
