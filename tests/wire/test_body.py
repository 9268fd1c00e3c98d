"""Bodies become typed values, or an error of one sentence."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from runstead.wire.body import MAX_DEPTH, WireModel, check_content_type, parse_body, parse_json
from runstead.wire.errors import NotJson, Unprocessable


class Inner(WireModel):
    limit: int


class Outer(WireModel):
    name: str
    inner: Inner | None = None


ADAPTER = TypeAdapter(Outer)


@pytest.mark.parametrize(
    "raw",
    [
        b"{bad",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'"\\ud800"',
        b'"\x00"',
        b"\xff\xfe",
        b"{'a': 1}",
        b"[1,]",
    ],
)
def test_body_that_is_not_strict_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Unprocessable, match=r"^Invalid JSON in request body: "):
        parse_json(raw)


def test_empty_body_is_an_empty_object() -> None:
    assert parse_json(b" \n") == {}


@pytest.mark.parametrize("raw", [b'{"a": "x\\u0000y"}', b'{"x\\u0000": 1}', b'["\\u0000"]'])
def test_nul_is_refused_at_any_position(raw: bytes) -> None:
    with pytest.raises(Unprocessable, match="NUL"):
        parse_json(raw)


def test_text_that_looks_like_an_escaped_nul_is_accepted() -> None:
    assert parse_json(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_nesting_is_bounded(brackets: str) -> None:
    opening = brackets[0] if brackets == "[]" else '{"a":'
    fits = opening * MAX_DEPTH + "1" + brackets[1] * MAX_DEPTH
    too_deep = opening * (MAX_DEPTH + 1) + "1" + brackets[1] * (MAX_DEPTH + 1)
    parse_json(fits.encode())
    with pytest.raises(Unprocessable, match="nested deeper"):
        parse_json(too_deep.encode())


def test_many_shallow_brackets_are_fine() -> None:
    assert len(parse_json(b"[" + b"[1]," * 5_000 + b"[1]]")) == 5_001


def test_wrong_type_error_names_the_path() -> None:
    with pytest.raises(Unprocessable, match=r"^inner\.limit: Input should be a valid integer"):
        parse_body(b'{"name": "x", "inner": {"limit": "7"}}', ADAPTER)


def test_missing_field_error_names_the_field() -> None:
    with pytest.raises(Unprocessable, match=r"^name: Field required"):
        parse_body(b"{}", ADAPTER)


def test_body_of_another_shape_is_refused() -> None:
    with pytest.raises(Unprocessable, match="should be an object"):
        parse_body(b"[]", ADAPTER)


def test_unknown_fields_are_ignored() -> None:
    assert parse_body(b'{"name": "x", "new": 1}', ADAPTER) == Outer(name="x")


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "application/json; charset=utf-8", "application/ld+json"]
)
def test_json_or_missing_content_type_is_accepted(kind: str | None) -> None:
    check_content_type(kind)


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "json"]
)
def test_other_content_type_is_refused(kind: str) -> None:
    with pytest.raises(NotJson, match="send it as application/json"):
        check_content_type(kind)
