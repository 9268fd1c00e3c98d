"""LangChain and LangGraph values to JSON, encoded once.

`encode` never fails and its result is always strict JSON: what JSON cannot carry is
given the nearest shape it can (NaN is null, bytes are base64, a lock is its repr), for a
state that cannot be shown must not end a run or a stream.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import deque
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson
from langchain_core.messages import BaseMessage
from pydantic import BaseModel

_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_UUID
_MAX_DEPTH: Final = 100
_MAX_REPR: Final = 1_000


def encode(value: Any) -> bytes:
    """``value`` as strict JSON in UTF-8."""
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except Exception:
        # Lone surrogates, ints over 64 bits, cycles, keys of odd types: rare, so found out by failing.
        return orjson.dumps(_sanitized(value, 0), option=_OPTIONS)


def jsonable(value: Any) -> Any:
    """``value`` as plain JSON values: what a reader of `encode` would get."""
    return orjson.loads(encode(value))


def describe(error: BaseException, limit: int = 10_000) -> str:
    """The text of an exception, whatever its ``__str__`` does: always a string, at most ``limit`` characters, in
    valid UTF-8.
    """
    try:
        text = str(error)
    except Exception:
        text = "(the exception's text could not be read)"
    return _valid_text(text[:limit])


def message_fields(message: BaseMessage) -> dict[str, Any]:
    """A message's fields as `model_dump` orders them, without its cost: this is done for every token."""
    values = message.__dict__
    fields = {name: values[name] for name in type(message).model_fields if name in values}
    if extra := message.model_extra:
        fields.update(extra)
    return fields


def _plain(value: Any) -> Any:
    """One step towards JSON for a value that orjson does not know."""
    if isinstance(value, BaseMessage):
        return message_fields(value)
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, (Set, deque)):
        return list(value)
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": describe(value)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, type):
        return value.__qualname__
    return _safe_repr(value)


def _sanitized(value: Any, depth: int) -> Any:
    """``value`` as plain JSON values, the slow and certain way."""
    if depth > _MAX_DEPTH:
        return "(nested too deeply)"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _valid_text(str.__str__(value))
    if isinstance(value, int):
        # JSON has no integer limit, but readers have: past 64 bits the digits travel as text.
        return int(value) if -(2**63) <= value < 2**64 else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): _sanitized(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence | Set | deque) and not isinstance(value, (bytes, bytearray, memoryview)):
        if hasattr(value, "_asdict"):
            return _sanitized(value._asdict(), depth)
        return [_sanitized(item, depth + 1) for item in value]
    try:
        return orjson.loads(orjson.dumps(value, option=_OPTIONS))
    except Exception:
        return _sanitized(_step(value), depth + 1)


def _step(value: Any) -> Any:
    try:
        return _plain(value)
    except Exception:
        return _safe_repr(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _valid_text(str.__str__(key))
    return _safe_repr(key)


def _valid_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _safe_repr(value: Any) -> str:
    try:
        return _valid_text(repr(value)[:_MAX_REPR])
    except Exception:
        return f"<{type(value).__name__}>"
