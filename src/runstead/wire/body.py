"""Parsing of a request body into one typed value, or one sentence that describes its first error.

JSON is strict and bounded: no NaN, no lone surrogates, no NUL, and no nesting that is too deep for later code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, TypeAdapter, ValidationError

from .errors import NotJson, Unprocessable, sentence_of

MAX_DEPTH: Final = 100
"""Maximum nesting, which all later code can process recursively. Real inputs have a tenth of it."""

T = TypeVar("T")


class WireModel(BaseModel):
    """Request model. Types are exact (no "1" for 1); unknown fields are ignored, as in the reference server."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


def check_content_type(content_type: str | None, *, is_browser: bool = False) -> None:
    """Raise NotJson for a body with another content type.

    Only browsers must send a content type: any web page can make a browser send a request without one.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not kind and not is_browser:
        return
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise NotJson(kind)


def parse_json(raw: bytes) -> Any:
    """Return the value of a JSON document; an empty one is an empty object. Raises Unprocessable."""
    if not raw.strip():
        return {}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Unprocessable(f"Invalid JSON in request body: {error}") from error
    # A document with few brackets cannot be deep: two counts accept most bodies.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or b"\\u0000" in raw:
        _check(value)
    return value


def parse_body(raw: bytes, adapter: TypeAdapter[T]) -> T:
    """Return the body as the route's type. Raises Unprocessable."""
    return typed(parse_json(raw), adapter)


def typed(value: object, adapter: TypeAdapter[T]) -> T:
    """Return JSON as the route's type. Raises Unprocessable."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise Unprocessable(sentence_of(error.errors(include_url=False, include_context=False))) from error


def unknown_fields(value: object, parsed: object, place: str = "") -> Iterator[str]:
    """Yield the names of fields in ``value`` that are unknown to the type into which it was parsed."""
    if isinstance(parsed, BaseModel) and isinstance(value, Mapping):
        names = _names_of(type(parsed))
        for name in value:
            if name not in names:
                yield f"{place}{name}"
            else:
                yield from unknown_fields(value[name], getattr(parsed, names[name]), f"{place}{name}.")
    elif isinstance(parsed, list) and isinstance(value, list):
        for one, below in zip(value, parsed, strict=False):
            yield from unknown_fields(one, below, place)


@cache
def _names_of(model: type[BaseModel]) -> Mapping[str, str]:
    """Return a model's field names by the names that a body may use for them."""
    names: dict[str, str] = {}
    for name, info in model.model_fields.items():
        given = info.validation_alias or info.alias or name
        choices = given.choices if isinstance(given, AliasChoices) else [given]
        names |= {str(choice): name for choice in choices}
    return names


def _check(root: object) -> None:
    """Check the document without recursion."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise Unprocessable(f"The request body is nested deeper than {MAX_DEPTH} levels")
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, dict):
                for key in value:
                    _check_text(key)
                below.extend(value.values())
        level = below


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise Unprocessable("The request body holds a NUL character (\\u0000), which cannot be stored; remove it")
