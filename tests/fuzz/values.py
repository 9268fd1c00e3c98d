"""Hypothesis strategies: JSON values, and mutations of JSON documents and of bytes."""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

Json: TypeAlias = Any

TEXTS: Final = (
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff", "\ufeff", "\u202e", "🦄", "%00", "%ff", "..", "../../etc/passwd",
    "a.b", ".", "*", "null", "true", "-1", "1e400", "NaN", "__root__", "__proto__", "__start__", "__end__", "__error__",
    "$eq", "$contains", "$where", "'; DROP TABLE runs; --", "{{x}}", "${x}", "\r\nx: y", "x" * 300, "é" * 70,
    "00000000-0000-0000-0000-000000000000", "1ef00000-0000-6000-8000-000000000000", "2026-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999+14:00", "0001-01-01T00:00:00Z", "* * * * *", "*/0 * * * *", "P1D", "Europe/Berlin",
    "values", "updates", "messages-tuple", "events", "debug", "enqueue", "rollback", "reject", "interrupt", "create",
    "http://127.0.0.1:1/", "http://[::1", "https://example.invalid/\x00", "os.system", "langgraph_auth_user",
)  # fmt: skip
NUMBERS: Final = (
    *(0, 1, -1, 2, 7, 100, 1_000, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30),
    *(0.5, -0.0, 1e-320, 1e308, -1e308),
)
_names = st.one_of(st.sampled_from(TEXTS), st.text(max_size=6))
scalars = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.none(),
    st.booleans(),
    st.text(max_size=12),
    st.integers(-5, 70_000),
    st.floats(),
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_names, inner, max_size=4)),
    max_leaves=8,
)
_PIECES: Final = (
    *(
        b"",
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xf0\x9f\xa6",
        b"\\ud800",
        b"\\u0000",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
    ),
    *(b",", b"1e999", b"NaN", b"-Infinity", b"//", b"\r\n", b"\n\n"),
    *(b"[" * 1_500, b'{"a":' * 400, b"9" * 5_000, b"x" * 3_000),
)


def _places(value: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within ``value``, itself first."""
    found = [at]
    if isinstance(value, dict):
        for key in value:
            found += _places(value[key], (*at, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            found += _places(one, (*at, index))
    return found


def _with(value: Json, place: tuple[Any, ...], change: Callable[[Any, Any], None], new: Json) -> Json:
    """``value`` after ``change(parent, key)``; ``new`` replaces the whole if the position is the root."""
    if not place:
        return new
    changed = copy.deepcopy(value)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    change(parent, place[-1])
    return changed


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Json], known: Sequence[Json] = ()) -> Json:
    """A document with up to three values changed, removed, wrapped or added. ``known`` values are drawn too."""
    value = draw(documents)
    news = st.one_of(values, st.sampled_from(known)) if known else values
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(_places(value)))
        new = draw(news)
        match draw(st.sampled_from(("replace", "replace", "remove", "wrap", "add"))):
            case "replace":
                value = _with(value, place, partial(_replace, new=new), new)
            case "remove":
                value = _with(value, place, operator.delitem, {})
            case "wrap":
                value = _with(value, place, lambda parent, key: _replace(parent, key, [parent[key]]), [value])
            case _:
                value = _with(value, place, _adding(draw(st.sampled_from(TEXTS)), new), value)
    return value


def _replace(parent: Any, key: Any, new: Json) -> None:
    parent[key] = new


def _adding(name: str, new: Json) -> Callable[[Any, Any], None]:
    def add(parent: Any, key: Any) -> None:
        target = parent[key] if isinstance(parent[key], (dict, list)) else parent
        if isinstance(target, dict):
            target[name] = new
        else:
            target.append(new)

    return add


@st.composite
def mutated_bytes(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with some replaced, removed, repeated or inserted."""
    data = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 1, 2, 8, 64, 10_000))))
        piece = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=6), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


def encoded(value: Json) -> bytes:
    """JSON as clients write it, with NaN and lone surrogates if the value contains them."""
    return json.dumps(value).encode()


def documents(values: st.SearchStrategy[Json]) -> st.SearchStrategy[bytes]:
    """The JSON of values; one in four has its bytes mutated."""
    texts = values.map(encoded)
    return st.one_of(texts, texts, texts, mutated_bytes(texts))
