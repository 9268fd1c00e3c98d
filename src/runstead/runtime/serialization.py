"""LangChain and LangGraph values to JSON, encoded once.

`encode` never fails and its result is always strict JSON: what JSON cannot carry is
given the nearest shape it can (NaN is null, bytes are base64, a lock is its repr), for a
state that cannot be shown must not end a run or a stream. Where the reference server has a shape for something, it
is that one; values of numpy and pandas are in `foreign_values`.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import math
import re
from collections import deque
from collections.abc import Mapping, Sequence, Set
from datetime import timedelta, tzinfo
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Send
from pydantic import BaseModel, SecretBytes, SecretStr

from .foreign_values import is_foreign, simplified

# Not OPT_SERIALIZE_NUMPY: with it, orjson imports numpy to ask about any value that it does not know.
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_UUID
_AS_TEXT: Final = (
    PurePath,
    tzinfo,
    ipaddress.IPv4Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Interface,
    ipaddress.IPv6Network,
    # Their text is asterisks.
    SecretStr,
    SecretBytes,
)
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


def written_out(value: Any, limit: int = _MAX_REPR) -> str:
    """The ``repr`` of a value, whatever that does: always a string, at most ``limit`` characters, in valid UTF-8."""
    try:
        return _valid_text(repr(value)[:limit])
    except Exception:
        return f"<{type(value).__name__}>"


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
    if isinstance(value, (Set, deque, range)):
        return list(value)
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, complex):
        return str(value).strip("()")
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, Send):
        return {"node": value.node, "args": value.arg}
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": describe(value)}
    if is_foreign(value):
        return simplified(value)
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, type):
        return value.__qualname__
    return written_out(value)


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    # Of many digits only a float is left, as of 1E+400.
    return int(value) if value.as_tuple().exponent == 0 else float(value)


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
        return written_out(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _valid_text(str.__str__(key))
    try:
        if is_foreign(key):
            key = jsonable(key)
        # As it is where all keys are of a kind that orjson knows.
        (shown,) = orjson.loads(orjson.dumps({key: None}, option=_OPTIONS))
    except Exception:
        return written_out(key)
    return str(shown)


def _valid_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
