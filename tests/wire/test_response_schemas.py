"""Resume values against schemas, as pydantic and authors write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Discriminator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from runstead.resources.response_schemas import violation


class Colour(Enum):
    RED = "red"


class Approve(BaseModel):
    type: Literal["approve"]


class Edit(BaseModel):
    type: Literal["edit"]
    args: dict[str, int]


@dataclass
class Booking:
    seats: Annotated[int, Field(ge=1, le=4)]
    when: datetime
    name: Annotated[str, Field(min_length=2, pattern="^[a-z]+$")] = "ann"
    tags: tuple[str, ...] = ()
    price: Decimal | None = None


class Tree(BaseModel):
    below: list[Tree] = []


class Closed(BaseModel, extra="forbid"):
    a: int = 0


class Partial(TypedDict, total=False):
    a: Colour


KINDS: list[Any] = [
    bool,
    int,
    float,
    str,
    Colour,
    Booking,
    Tree,
    Closed,
    Partial,
    dict[str, int],
    list[int],
    Literal["a", 1, None],
    int | None,
    Annotated[Approve | Edit, Discriminator("type")],
    Approve | Edit,
    Annotated[list[int], Field(min_length=1, max_length=2)],
    Annotated[float, Field(gt=0, lt=10, multiple_of=0.5)],
]
ANSWERS: list[Any] = [
    None,
    True,
    0,
    1,
    1.5,
    "",
    "1",
    "yes",
    "banana",
    "red",
    "a",
    [],
    [1],
    ["x"],
    [1, 2, 3],
    {},
    {"a": 1},
    {"a": "red"},
    {"a": "x"},
    {"b": 1},
    {"type": "approve"},
    {"type": "edit"},
    {"type": "edit", "args": {"x": 1}},
    {"type": "edit", "args": {"x": "one"}},
    {"type": "other"},
    {"seats": 2, "when": "2026-01-02T03:04:05Z"},
    {"seats": "2", "when": 1_700_000_000, "name": "bob", "tags": ["x"], "price": "1.50"},
    {"seats": 5, "when": "2026-01-02T03:04:05Z"},
    {"seats": 2, "when": "tomorrow"},
    {"seats": 2, "when": "2026-01-02T03:04:05Z", "name": "B"},
    {"seats": 2, "when": "2026-01-02T03:04:05Z", "name": "B2"},
    {"below": [{"below": []}]},
    {"below": [{"below": 1}]},
]


def check(kind: Any, answer: Any) -> None:
    """Values that the graph would accept are not refused; values that it would refuse are refused here."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    problem = violation(answer, adapter.json_schema())
    try:
        adapter.validate_python(answer)
    except ValidationError:
        assert problem is not None
    else:
        assert problem is None


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_violation_agrees_with_pydantic(kind: Any) -> None:
    for answer in ANSWERS:
        check(kind, answer)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["yes", "off", "red", "edit", "2026-01-02", "1_0", " 1 ", "1e3"]),
    st.text(max_size=3),
)
KEYS = st.sampled_from(["a", "b", "type", "args", "seats", "when", "name", "tags", "price", "below"])
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4), max_leaves=8
)


@given(st.sampled_from(KINDS), JSON)
def test_violation_agrees_with_pydantic_on_any_json(kind: Any, answer: Any) -> None:
    check(kind, answer)


@pytest.mark.parametrize(
    ("answer", "schema", "problem"),
    [
        ("banana", {"type": "object"}, "answer must be an object"),
        ({}, {"type": "object", "required": ["a"]}, "answer.a is missing"),
        ({"a": [1, "x"]}, {"properties": {"a": {"items": {"type": "integer"}}}}, "answer.a[1] must be an integer"),
        ({"b": 1}, {"properties": {"a": {}}, "additionalProperties": False}, "answer.b is not allowed"),
        ("c", {"enum": ["a", "b"]}, "answer must be one of 'a', 'b'"),
        (2, {"const": 1}, "answer must be 1"),
        ("abc", {"type": "string", "maxLength": 2}, "answer has 3 characters, and may have at most 2"),
        (11, {"type": "number", "maximum": 10}, "answer must be at most 10"),
        (None, {"type": ["string", "integer"]}, "answer must be a string or an integer"),
        ("x", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "answer must be an integer or answer must be null"),
        ("x", {"allOf": [{"type": "string"}, {"pattern": "^y"}]}, "answer must match '^y'"),
        ("x", False, None),
    ],
)
def test_violation_names_the_place(answer: Any, schema: Any, problem: str | None) -> None:
    assert violation(answer, schema) == problem


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": "tuple"},
        {"type": 7, "enum": "abc", "properties": [], "required": "a", "anyOf": "b", "minimum": "low"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"pattern": "(?=lookahead)"},
    ],
)
def test_violation_accepts_unknown_keywords(schema: Any) -> None:
    assert violation("answer", schema) is None
