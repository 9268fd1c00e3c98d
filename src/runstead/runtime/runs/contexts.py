"""Match of run contexts with the context schemas of graphs: a dataclass, a pydantic model or a TypedDict."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, is_dataclass

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from ..json_types import JsonMapping, JsonObject


@dataclass(frozen=True, slots=True)
class ContextField:
    """Field of a context schema, and the keys under which a context may contain it."""

    name: str
    keys: Collection[str]
    required: bool


def fitting_context(schema: object, context: JsonMapping | None) -> JsonObject:
    """Return ``context`` without keys that the schema lacks; all of it without a schema.

    A run's context mirrors its configurable and may contain keys with other purposes, which a dataclass would refuse.
    Never None: LangGraph applies the schema's defaults to an empty context, but not to None.
    """
    given = dict(context or {})
    if schema is None:
        return given
    known = {key for field in _fields(schema) for key in field.keys}
    return {key: value for key, value in given.items() if key in known}


def missing_fields(schema: object, context: JsonMapping | None) -> list[str]:
    """Return the required fields that ``context`` lacks. LangGraph requires no fields of a TypedDict."""
    given = context or {}
    return [field.name for field in _fields(schema) if field.required and not any(key in given for key in field.keys)]


def _fields(schema: object) -> Iterator[ContextField]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        # Custom code of the model may fill in missing fields.
        may_be_filled = schema.__init__ is not BaseModel.__init__ or bool(
            schema.__pydantic_decorators__.model_validators
        )
        for name, field in schema.model_fields.items():
            keys, is_whole = _keys(name, field)
            yield ContextField(name, keys, field.is_required() and is_whole and not may_be_filled)
    elif isinstance(schema, type) and is_dataclass(schema):
        make: Callable[..., object] = schema
        for name, parameter in inspect.signature(make).parameters.items():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                yield ContextField(name, (name,), parameter.default is parameter.empty)
    else:
        # A TypedDict, from typing or typing_extensions.
        yield from (ContextField(name, (name,), False) for name in getattr(schema, "__annotations__", ()))


def _keys(name: str, field: FieldInfo) -> tuple[Collection[str], bool]:
    """Return the keys of a field, and False if it may also be given inside another field."""
    alias = field.validation_alias
    aliases = alias.choices if isinstance(alias, AliasChoices) else [alias]
    keys = {name, field.alias, *(each for each in aliases if isinstance(each, str))}
    return {key for key in keys if key is not None}, not any(isinstance(each, AliasPath) for each in aliases)
