"""A request body becomes one typed value, or one sentence about what is wrong with it.

JSON here is strict and bounded: no NaN, no lone surrogates, no NUL, no nesting that later code could choke on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, TypeAdapter, ValidationError

from .errors import NotJson, Unprocessable, sentence_of

MAX_DEPTH: Final = 100
"""Nesting that everything behind the wire can walk recursively. Real inputs have a tenth of it."""

T = TypeVar("T")


class WireModel(BaseModel):
    """What clients send. Types are exact (no "1" for 1); unknown fields are passed over, as by the reference."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


def check_content_type(content_type: str | None, *, is_browser: bool = False) -> None:
    """Raises NotJson for a body that says it is something else.

    Only browsers have to say anything: what they send without saying that it is JSON, any page may have made them send.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not kind and not is_browser:
        return
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise NotJson(kind)


def parse_json(raw: bytes) -> Any:
    """The value of a JSON document; an empty one is an empty object. Raises Unprocessable."""
    if not raw.strip():
        return {}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Unprocessable(f"Invalid JSON in request body: {error}") from error
    # A document with few brackets cannot be deep: most bodies are let through by two counts.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or b"\\u0000" in raw:
        _check(value)
    return value


def parse_body(raw: bytes, adapter: TypeAdapter[T]) -> T:
    """The body as the type the route wants. Raises Unprocessable."""
    return typed(parse_json(raw), adapter)


def typed(value: Any, adapter: TypeAdapter[T]) -> T:
    """JSON as the type the route wants. Raises Unprocessable."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise Unprocessable(sentence_of(error.errors(include_url=False, include_context=False))) from error


def unknown_fields(value: Any, parsed: Any, place: str = "") -> Iterator[str]:
    """Yield the names of fields that ``value`` has and the type it was parsed into does not know."""
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
    """The names that a model's fields may have in a body, and their own."""
    names: dict[str, str] = {}
    for name, info in model.model_fields.items():
        given = info.validation_alias or info.alias or name
        choices = given.choices if isinstance(given, AliasChoices) else [given]
        names |= {str(choice): name for choice in choices}
    return names


def _check(root: Any) -> None:
    """Walk the document without recursion."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise Unprocessable(f"The request body is nested deeper than {MAX_DEPTH} levels")
        below: list[Any] = []
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
