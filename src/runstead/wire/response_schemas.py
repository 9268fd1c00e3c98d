"""Check an answer against the ``response_schema`` of its interrupt, before a run is created for it.

A schema is JSON Schema, mostly written by pydantic, whose rules the graph applies to the answer again. So texts that
pydantic reads as numbers, booleans and times pass here too, and so does everything that is not understood.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

Schema: TypeAlias = Mapping[str, Any]

_MAX_DEPTH: Final = 200
_KINDS: Final[Mapping[str, type]] = {
    "integer": int, "number": float, "boolean": bool, "string": str, "null": type(None), "object": dict, "array": list,
}  # fmt: skip
_FORMATS: Final[Mapping[str, type]] = {
    "date-time": datetime, "date": date, "time": time, "duration": timedelta, "uuid": UUID,
}  # fmt: skip


def violation(answer: Any, schema: Any) -> str | None:
    """Return the first thing in ``answer`` that breaks ``schema``, with its place; None if there is nothing."""
    if not isinstance(schema, Mapping):
        return None
    return next(_Check(schema).problems(answer, schema, "answer", 0), None)


def choices(schema: Any, name: str) -> list[Any]:
    """Return the values that the property ``name`` of an answer may have, where the schema lists them."""
    return list(_Check(schema).choices(schema, name, 0)) if isinstance(schema, Mapping) else []


class _Check:
    """One check: ``root`` is what references in the schema point into."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def problems(self, value: Any, schema: Any, at: str, depth: int) -> Iterator[str]:
        if schema is False:
            yield f"{at} is not allowed"
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return
        if "$ref" in schema:
            yield from self.problems(value, self._resolved(schema["$ref"]), at, depth + 1)
        yield from _kind_problems(value, schema, at)
        yield from _choice_problems(value, schema, at)
        for each in _list(schema.get("allOf")):
            yield from self.problems(value, each, at, depth + 1)
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list):
                yield from self._alternatives(value, schema, schema[name], at, depth)
        if isinstance(value, dict):
            yield from self._object_problems(value, schema, at, depth)
        elif isinstance(value, list):
            yield from self._array_problems(value, schema, at, depth)
        elif isinstance(value, str | int | float):
            yield from _scalar_problems(value, schema, at)

    def choices(self, schema: Any, name: str, depth: int) -> Iterator[Any]:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return
        properties = schema.get("properties")
        listed = properties.get(name) if isinstance(properties, Mapping) else None
        if isinstance(listed, Mapping):
            yield from [listed["const"]] if "const" in listed else _list(listed.get("enum"))
        for each in (self._resolved(schema.get("$ref")), *_list(schema.get("anyOf")), *_list(schema.get("oneOf"))):
            yield from self.choices(each, name, depth + 1)

    def _resolved(self, ref: Any) -> Any:
        """The schema that a reference names, inside this document only; True, which allows all, if there is none."""
        if not isinstance(ref, str) or not ref.startswith("#"):
            return True
        found: Any = self._root
        for step in ref[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, True) if isinstance(found, Mapping) else True
        return found

    def _alternatives(self, value: Any, schema: Schema, alternatives: list[Any], at: str, depth: int) -> Iterator[str]:
        chosen = self._discriminated(value, schema)
        candidates = [chosen] if chosen is not None else alternatives
        found: list[str] = []
        for each in candidates:
            problem = next(self.problems(value, each, at, depth + 1), None)
            if problem is None:
                return
            found.append(problem)
        if found:
            yield found[0] if len(set(found)) == 1 else " or ".join(dict.fromkeys(found))

    def _discriminated(self, value: Any, schema: Schema) -> Any | None:
        """The one alternative that the value's discriminator names."""
        discriminator = schema.get("discriminator")
        if not isinstance(discriminator, Mapping) or not isinstance(value, dict):
            return None
        mapping, name = discriminator.get("mapping"), value.get(discriminator.get("propertyName"))
        if not isinstance(mapping, Mapping) or not isinstance(name, str) or name not in mapping:
            return None
        return self._resolved(mapping[name])

    def _object_problems(self, value: dict[str, Any], schema: Schema, at: str, depth: int) -> Iterator[str]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        for name in _list(schema.get("required")):
            if name not in value:
                yield f"{at}.{name} is missing"
        for name, each in value.items():
            if name in properties:
                yield from self.problems(each, properties[name], f"{at}.{name}", depth + 1)
            elif "patternProperties" not in schema and "additionalProperties" in schema:
                yield from self.problems(each, schema["additionalProperties"], f"{at}.{name}", depth + 1)
        yield from _size_problems(len(value), schema, "Properties", f"{at} has {len(value)} fields")

    def _array_problems(self, value: list[Any], schema: Schema, at: str, depth: int) -> Iterator[str]:
        first = _list(schema.get("prefixItems"))
        for index, each in enumerate(value):
            wanted = first[index] if index < len(first) else schema.get("items", True)
            yield from self.problems(each, wanted, f"{at}[{index}]", depth + 1)
        yield from _size_problems(len(value), schema, "Items", f"{at} has {len(value)} items")


def _kind_problems(value: Any, schema: Schema, at: str) -> Iterator[str]:
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else _list(wanted)
    known = [kind for kind in kinds if kind in _KINDS]
    if known and len(known) == len(kinds) and not any(_is_kind(value, kind, schema) for kind in known):
        yield f"{at} must be {_one_of(known)}"


def _is_kind(value: Any, kind: str, schema: Schema) -> bool:
    if kind in ("null", "object", "array"):
        return isinstance(value, _KINDS[kind])
    if kind == "string" and (timed := _FORMATS.get(str(schema.get("format")))) is not None:
        return _reads_as(value, timed)
    return _reads_as(value, _KINDS[kind])


def _choice_problems(value: Any, schema: Schema, at: str) -> Iterator[str]:
    if "const" in schema and value != schema["const"]:
        yield f"{at} must be {schema['const']!r}"
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        yield f"{at} must be one of {', '.join(repr(choice) for choice in choices)}"


def _scalar_problems(value: str | int | float, schema: Schema, at: str) -> Iterator[str]:
    if isinstance(value, str):
        yield from _size_problems(len(value), schema, "Length", f"{at} has {len(value)} characters")
        if isinstance(pattern := schema.get("pattern"), str) and not _matches(value, pattern):
            yield f"{at} must match {pattern!r}"
    if (number := _number(value)) is None:
        return
    limits: list[tuple[str, str, Callable[[float, float], bool]]] = [
        ("minimum", "at least", lambda given, limit: given >= limit),
        ("maximum", "at most", lambda given, limit: given <= limit),
        ("exclusiveMinimum", "more than", lambda given, limit: given > limit),
        ("exclusiveMaximum", "less than", lambda given, limit: given < limit),
    ]
    for keyword, words, holds in limits:
        if (limit := _limit(schema, keyword)) is not None and not holds(number, limit):
            yield f"{at} must be {words} {limit:g}"
    step = _limit(schema, "multipleOf")
    if step and not (math.isfinite(number) and math.isclose(number / step, round(number / step), abs_tol=1e-9)):
        yield f"{at} must be a multiple of {step:g}"


def _size_problems(size: int, schema: Schema, noun: str, found: str) -> Iterator[str]:
    if (least := _limit(schema, f"min{noun}")) is not None and size < least:
        yield f"{found}, and needs at least {least:g}"
    if (most := _limit(schema, f"max{noun}")) is not None and size > most:
        yield f"{found}, and may have at most {most:g}"


def _number(value: str | int | float) -> float | None:
    """The number that a value is, or that pydantic reads in it."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _limit(schema: Schema, keyword: str) -> float | None:
    limit = schema.get(keyword)
    return float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _one_of(kinds: list[str]) -> str:
    return " or ".join(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" if kind != "null" else "null" for kind in kinds)


def _reads_as(value: Any, kind: type) -> bool:
    try:
        _adapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _matches(text: str, pattern: str) -> bool:
    try:
        # Pydantic's expressions take linear time: a pattern of an author's cannot hold up the server.
        return _reads_as(text, Annotated[str, StringConstraints(pattern=pattern)])  # type: ignore[arg-type]
    except SchemaError:
        return True
