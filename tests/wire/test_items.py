"""Store items: valid namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from runstead.wire.body import parse_body
from runstead.wire.errors import Unprocessable
from runstead.wire.items import ITEM_PUT, ITEM_SEARCH, NAMESPACE_SEARCH

GOOD = {"namespace": ["a", "b"], "key": "k", "value": {"x": 1}}


def put(**changes: Any) -> Any:
    return parse_body(json.dumps({**GOOD, **changes}).encode(), ITEM_PUT)


def test_item_is_a_namespace_a_key_and_an_object() -> None:
    assert put(index=["x"], ttl=5).namespace == ["a", "b"]
    assert put(index=False).index is False


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"namespace": ["a.b"]}, "Namespace label 'a.b' must be a non-empty string without periods"),
        ({"namespace": [""]}, "Namespace label '' must be"),
        ({"namespace": []}, "namespace"),
        ({"namespace": "a"}, "namespace"),
        ({"namespace": ["langgraph"]}, "cannot be 'langgraph'"),
        ({"namespace": [1]}, "namespace"),
        ({"key": ""}, "key"),
        ({"key": 1}, "key"),
        ({"value": [1]}, "value"),
        ({"index": True}, "index"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": 1e308}, "ttl"),
    ],
)
def test_unstorable_item_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unprocessable, match=sentence):
        put(**changes)


@pytest.mark.parametrize(
    ("adapter", "body"),
    [
        (ITEM_SEARCH, {"namespace_prefix": [], "limit": -1}),
        (ITEM_SEARCH, {"namespace_prefix": [], "offset": -1}),
        (ITEM_SEARCH, {"namespace_prefix": [], "limit": 10**9}),
        (ITEM_SEARCH, {}),
        (NAMESPACE_SEARCH, {"max_depth": 0}),
        (NAMESPACE_SEARCH, {"prefix": ["a.b"]}),
    ],
)
def test_search_limit_is_bounded(adapter: TypeAdapter[Any], body: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable):
        parse_body(json.dumps(body).encode(), adapter)
