"""What a filter means: for one thing that is at hand, and for a search, which must say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.infra.storage.dialect import holds
from runstead.wire.authorization import InvalidFilter, containment_of, matches


@pytest.mark.parametrize(
    ("metadata", "filters"),
    [
        ({"owner": "alice", "x": 1}, {"owner": "alice"}),
        ({"owner": "alice"}, {"owner": {"$eq": "alice"}}),
        ({"people": ["alice", "bob"]}, {"people": {"$contains": "bob"}}),
        ({"people": ["alice", "bob", "eve"]}, {"people": {"$contains": ["eve", "alice"]}}),
        ({"owner": "alice", "level": 3}, {"owner": "alice", "level": {"$eq": 3}}),
        ({}, {}),
        ({}, None),
    ],
)
def test_what_fulfils_every_condition_is_there(metadata: dict[str, Any], filters: dict[str, Any] | None) -> None:
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
    ],
)
def test_what_fails_one_condition_is_not(metadata: dict[str, Any], filters: dict[str, Any]) -> None:
    assert not matches(metadata, filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"a": {"$gt": 1}},
        {"a": {}},
        {"a": {"$eq": 1, "$contains": 1}},
        {"a": ["x"]},
        {"a": {"$contains": [{}]}},
        {"a": None},
    ],
)
def test_a_filter_without_a_meaning_lets_nobody_see_anything(filters: dict[str, Any]) -> None:
    for apply in (lambda: matches({"a": 1}, filters), lambda: containment_of(filters)):
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


@given(documents, st.dictionaries(st.sampled_from("ab"), conditions, max_size=2))
def test_a_search_finds_what_could_be_read(metadata: dict[str, Any], filters: dict[str, Any]) -> None:
    assert holds(metadata, containment_of(filters)) == matches(metadata, filters)
