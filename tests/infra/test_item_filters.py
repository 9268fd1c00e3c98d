"""Filters on the values of items: their matches, and refused forms."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.resources.item_filters import InvalidFilter, check_filter, matches_filter

VALUE = {"n": 3, "text": "b", "yes": True, "none": None, "tags": ["a", "b"], "deep": {"x": {"y": 2}, "z": 1}}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"n": 3},
        {"n": 3.0},
        {"n": {"$eq": 3}},
        {"n": {"$ne": 4}},
        {"n": {"$gt": 2.5, "$lt": 4}},
        {"n": {"$gte": 3, "$lte": 3}},
        {"text": {"$gt": "a", "$lte": "b"}},
        {"yes": True},
        {"none": None},
        {"absent": None},
        {"absent": {"$ne": 1}},
        {"tags": ["a", "b"]},
        {"tags": ["a", {"$ne": "a"}]},
        {"tags": {"$eq": ["a", "b"]}},
        {"deep": {"z": 1}},
        {"deep": {"x": {"y": {"$lt": 3}}}},
        {"deep": {"$eq": {"x": {"y": 2}, "z": 1}}},
        {"n": 3, "text": "b"},
    ],
    ids=str,
)
def test_filter_matches(wanted: dict[str, Any]) -> None:
    check_filter(wanted)
    assert matches_filter(VALUE, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 4},
        {"n": "3"},
        {"n": {"$ne": 3}},
        {"n": {"$gt": 3}},
        {"n": {"$gt": 2, "$lt": 3}},
        {"n": {"$lt": "9"}},
        {"text": {"$gt": 0}},
        {"yes": 1},
        {"yes": {"$gte": 1}},
        {"absent": {"$lt": 1}},
        {"none": {"$lte": 0}},
        {"tags": ["a"]},
        {"tags": ["b", "a"]},
        {"deep": {"x": {"y": 3}}},
        {"deep": {"$eq": {"z": 1}}},
        {"deep": {}},
        {"n": {"below": 1}},
        {"n": 3, "text": "c"},
    ],
    ids=str,
)
def test_filter_does_not_match(wanted: dict[str, Any]) -> None:
    check_filter(wanted)
    assert not matches_filter(VALUE, wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"n": {"$in": [1]}}, r"filter.n: there is no operator '\$in'; known are \$eq, \$ne"),
        ({"deep": {"x": {"$regex": "a"}}}, r"filter.deep.x: there is no operator"),
        ({"tags": [{"$like": "a"}]}, r"filter.tags\[0\]: there is no operator"),
        ({"$or": []}, "stands where a field is expected"),
        ({"n": {"$gt": 1, "x": 2}}, "cannot be mixed"),
        ({"n": {"$gt": None}}, "compares numbers, or texts; got NoneType"),
        ({"n": {"$lt": True}}, "compares numbers, or texts; got bool"),
        ({"n": {"$gte": [1]}}, "compares numbers, or texts; got list"),
        ({1: 2}, "is not a field name"),
    ],
    ids=str,
)
def test_unknown_filter_is_refused(wanted: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        check_filter(wanted)
