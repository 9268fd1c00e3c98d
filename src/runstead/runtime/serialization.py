"""Serialization of LangChain and LangGraph values to JSON, encoded once.

`encode` never fails, and its result is always strict JSON. Values that JSON cannot represent get the closest
representation (NaN is null, bytes are base64, a lock is its repr), since a state that cannot be displayed must not end
a run or a stream. If the reference server has a representation for a value, it is used; values of numpy and pandas are
in `foreign_values`.
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
from .json_types import JsonObject

# Not OPT_SERIALIZE_NUMPY: with it, orjson imports numpy to check every value that it does not know.
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


def encode(value: object) -> bytes:
    """Return ``value`` as strict JSON in UTF-8."""
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except Exception:
        # Lone surrogates, integers over 64 bits, cycles, unusual key types: rare, so they are handled only after a
        # failure.
        return orjson.dumps(_sanitized(value, 0), option=_OPTIONS)


def jsonable(value: object) -> Any:
    """Return ``value`` as plain JSON values, as a reader of `encode` would get them."""
    return orjson.loads(encode(value))


def describe(error: BaseException, limit: int = 10_000) -> str:
    """Return the text of an exception, even if its ``__str__`` fails: always a string, at most ``limit`` characters, in
    valid UTF-8."""
    try:
        text = str(error)
    except Exception:
        text = "(the exception's text could not be read)"
    return _valid_text(text[:limit])


def written_out(value: object, limit: int = _MAX_REPR) -> str:
    """Return the ``repr`` of a value, even if that fails: always a string, at most ``limit`` characters, in valid
    UTF-8."""
    try:
        return _valid_text(repr(value)[:limit])
    except Exception:
        return f"<{type(value).__name__}>"


def message_fields(message: BaseMessage) -> JsonObject:
    """Return a message's fields in the order of `model_dump`, without its cost: this is called for every token."""
    values = message.__dict__
    fields = {name: values[name] for name in type(message).model_fields if name in values}
    if extra := message.model_extra:
        fields.update(extra)
    return fields


def _plain(value: object) -> Any:
    """Convert a value that orjson does not know one step towards JSON."""
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
    # Decimals with an exponent, such as 1E+400, become floats.
    return int(value) if value.as_tuple().exponent == 0 else float(value)


def _sanitized(value: object, depth: int) -> object:
    """Return ``value`` as plain JSON values, by the slow method that always works."""
    if depth > _MAX_DEPTH:
        return "(nested too deeply)"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _valid_text(str.__str__(value))
    if isinstance(value, int):
        # JSON has no integer limit, but its readers have: beyond 64 bits, the digits are sent as text.
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


def _step(value: object) -> object:
    try:
        return _plain(value)
    except Exception:
        return written_out(value)


def _key(key: object) -> str:
    if isinstance(key, str):
        return _valid_text(str.__str__(key))
    try:
        if is_foreign(key):
            key = jsonable(key)
        # Use the form that orjson gives to a key of a known type.
        (shown,) = orjson.loads(orjson.dumps({key: None}, option=_OPTIONS))
    except Exception:
        return written_out(key)
    return str(shown)


def _valid_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
