"""Parts of a response: select and extract."""

from __future__ import annotations

import orjson
import pytest

from runstead.wire.errors import Unprocessable
from runstead.wire.field_selection import Paths, check_select, selected

FIELDS = {
    "thread_id": "t",
    "values": orjson.Fragment(b'{"messages":[{"content":"a"},{"content":"b"}],"n":1}'),
    "status": "idle",
}
KNOWN = ("thread_id", "values", "status")


def test_empty_selection_returns_everything() -> None:
    assert selected(FIELDS, None) is FIELDS


def test_fields_keep_their_own_order() -> None:
    assert list(selected(FIELDS, ["status", "thread_id"])) == ["thread_id", "status"]


def test_single_key_of_an_object() -> None:
    assert selected(FIELDS, ["values.n", "status"]) == {"values": {"n": 1}, "status": "idle"}
    assert selected(FIELDS, ["values.absent"]) == {"values": {}}


def test_whole_field_overrides_its_part() -> None:
    assert selected(FIELDS, ["values.n", "values"])["values"] is FIELDS["values"]


@pytest.mark.parametrize("name", ["bogus", "status.x", "values.", ""])
def test_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(Unprocessable, match="is not one of thread_id, values, status"):
        check_select([name], KNOWN, below=("values",))


def test_paths_reach_into_lists_from_both_ends() -> None:
    paths = Paths({"last": "values.messages[-1].content", "first": "values.messages[0]", "id": "thread_id"}, KNOWN)
    assert paths.read(FIELDS) == {"last": "b", "first": {"content": "a"}, "id": "t"}


def test_missing_path_is_null() -> None:
    paths = Paths({"a": "values.messages[9]", "b": "values.x.y", "c": "status[0]"}, KNOWN)
    assert paths.read(FIELDS) == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize(
    "path", ["", "bogus.x", "values..x", "values[", "values.messages[x]", "values messages", "[0]"]
)
def test_invalid_path_is_refused(path: str) -> None:
    with pytest.raises(Unprocessable, match="extract"):
        Paths({"x": path}, KNOWN)


def test_number_of_paths_is_limited() -> None:
    with pytest.raises(Unprocessable, match="at most 10"):
        Paths({str(n): "status" for n in range(11)}, KNOWN)
