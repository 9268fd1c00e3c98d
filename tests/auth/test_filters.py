"""Semantics of filters: the check of one object and the condition of a search must agree."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.wire.authorization import InvalidFilter, filter_of, matches

SOMEBODY = uuid.UUID("01a22e6e-6972-768c-987f-111cd7c852e4")


@pytest.mark.parametrize(
    ("metadata", "filters"),
    [
        ({"owner": "alice", "x": 1}, {"owner": "alice"}),
        ({"owner": "alice"}, {"owner": {"$eq": "alice"}}),
        ({"people": ["alice", "bob"]}, {"people": {"$contains": "bob"}}),
        ({"people": ["alice", "bob", "eve"]}, {"people": {"$contains": ["eve", "alice"]}}),
        ({"owner": "alice", "level": 3}, {"owner": "alice", "level": {"$eq": 3}}),
        ({"owner": "alice"}, {"$or": [{"owner": "alice"}, {"people": {"$contains": "alice"}}]}),
        ({"people": ["alice"]}, {"$or": [{"owner": "alice"}, {"people": {"$contains": "alice"}}]}),
        ({"owner": "alice", "org": "acme"}, {"$and": [{"owner": "alice"}, {"org": {"$eq": "acme"}}]}),
        ({"org": "acme", "owner": "bob"}, {"$or": [{"owner": "bob"}, {"owner": "eve"}], "org": "acme"}),
        ({"a": 1, "b": 2}, {"$or": [{"$and": [{"a": 1}, {"b": 2}]}, {"c": 3}]}),
        ({"a": 1, "c": 3}, {"$and": [{"$or": [{"a": 1}, {"b": 2}]}, {"$or": [{"c": 3}, {"d": 4}]}]}),
        ({"a": 1, "b": 2}, {"$or": [{"a": 1}, {"x": 1}], "$and": [{"a": 1}, {"b": 2}]}),
        ({"people": ["alice", "bob"]}, {"people": ["alice", "bob"]}),
        ({"people": ["alice"]}, {"people": {"$eq": ("alice",)}}),
        ({"plan": {"tier": "gold"}}, {"plan": {"$eq": {"tier": "gold"}}}),
        ({"gone": None}, {"gone": None}),
        ({"owner": str(SOMEBODY)}, {"owner": SOMEBODY}),
        ({"people": [str(SOMEBODY)]}, {"people": {"$contains": [SOMEBODY]}}),
        ({"people": []}, {"people": {"$contains": []}}),
        ({}, {}),
        ({}, None),
    ],
)
def test_metadata_matching_every_condition_passes(metadata: dict[str, Any], filters: dict[str, Any] | None) -> None:
    assert matches(metadata, filters)


@pytest.mark.parametrize(
    ("metadata", "filters"),
    [
        ({}, {"owner": "alice"}),
        ({"owner": "bob"}, {"owner": "alice"}),
        ({"owner": ["alice"]}, {"owner": "alice"}),
        ({"owner": None}, {"owner": "alice"}),
        ({"people": "alice and bob"}, {"people": {"$contains": "alice"}}),
        ({"people": ["alice"]}, {"people": {"$contains": ["alice", "bob"]}}),
        ({"people": {"alice": 1}}, {"people": {"$contains": "alice"}}),
        ({"on": 1}, {"on": True}),
        ({"owner": "alice"}, {"owner": "alice", "level": 3}),
        ({"owner": "eve"}, {"$or": [{"owner": "alice"}, {"owner": "bob"}]}),
        ({"owner": "alice", "org": "other"}, {"$or": [{"owner": "alice"}, {"owner": "bob"}], "org": "acme"}),
        ({"owner": "alice"}, {"$and": [{"owner": "alice"}, {"org": "acme"}]}),
        ({"a": 1, "b": 3}, {"$or": [{"$and": [{"a": 1}, {"b": 2}]}, {"c": 3}]}),
        ({"people": ["bob", "alice"]}, {"people": ["alice", "bob"]}),
        ({"people": ["alice", "bob"]}, {"people": ["alice"]}),
        ({"plan": {"tier": "gold", "x": 1}}, {"plan": {"$eq": {"tier": "gold"}}}),
        ({"plan": {"on": 1}}, {"plan": {"$eq": {"on": True}}}),
        ({}, {"gone": None}),
    ],
)
def test_metadata_failing_one_condition_is_rejected(metadata: dict[str, Any], filters: dict[str, Any]) -> None:
    assert not matches(metadata, filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"a": {"$gt": 1}},
        {"a": {}},
        {"a": {"$eq": 1, "$contains": 1}},
        {"a": {"$contains": [{}]}},
        {"a": {"$contains": None}},
        {"a": {"b": 1}},
        {"a": float("nan")},
        {"a": object()},
        {1: "a"},
        {"$not": {"a": 1}},
        {"$or": {"a": 1}},
        {"$or": [{"a": 1}]},
        {"$and": []},
        {"$or": [{"a": 1}, {}]},
        {"$or": [{"a": 1}, "b"]},
        {"$or": [{"a": 1}, {"$and": [{"b": 1}, {"$or": [{"c": 1}, {"d": 1}]}]}]},
    ],
)
def test_invalid_filter_raises_instead_of_matching(filters: dict[str, Any]) -> None:
    for apply in (lambda: matches({"a": 1}, filters), lambda: filter_of(filters)):
        with pytest.raises(InvalidFilter):
            apply()


scalars = st.sampled_from(["alice", "bob", "", 0, 1, True, False])
values = (
    scalars | st.none() | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from("xy"), scalars, max_size=2)
)
documents = st.dictionaries(st.sampled_from("ab"), values, max_size=2)
conditions = (
    scalars
    | st.fixed_dictionaries({"$eq": scalars})
    | st.fixed_dictionaries({"$contains": scalars | st.lists(scalars, max_size=2)})
)
simple = st.dictionaries(st.sampled_from("ab"), conditions, min_size=1, max_size=2)
groups = st.lists(simple, min_size=2, max_size=3)


@given(documents, st.dictionaries(st.sampled_from("ab"), conditions, max_size=2))
def test_filter_matches_when_all_conditions_match(metadata: dict[str, Any], filters: dict[str, Any]) -> None:
    assert matches(metadata, filters) == all(matches(metadata, {key: wanted}) for key, wanted in filters.items())


@given(documents, groups, simple)
def test_filter_groups_or_and_and_are_combined(
    metadata: dict[str, Any], group: list[dict[str, Any]], beside: dict[str, Any]
) -> None:
    fulfilled = [matches(metadata, one) for one in group]
    assert matches(metadata, {"$or": group}) == any(fulfilled)
    assert matches(metadata, {"$and": group}) == all(fulfilled)
    assert matches(metadata, {"$or": group, **beside}) == (any(fulfilled) and matches(metadata, beside))
    nested = {"$or": [{"$and": group}, beside]}
    assert matches(metadata, nested) == (all(fulfilled) or matches(metadata, beside))
