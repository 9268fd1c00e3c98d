"""The comparison of recorded responses with Runstead's: equal except for ids, times and fields that a library fills
in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from .expected_differences import NOT_SERVED, WANTED
from .libraries import LIBRARY_FIELDS, is_version
from .transcript import FOLDER, Comparison, Exchange, Wanted, read_frames, read_transcript

_RELEASE = re.compile(r"\d+\.\d+\.\d+\S*")


def differences(theirs: Any, ours: Any) -> list[str]:
    comparison = Comparison(Wanted())
    comparison.same(theirs, ours)
    return comparison.differences


@pytest.mark.parametrize("newer", ["1.2.23", "1.3.0rc1", "2.0.0.dev7+local", "99"])
def test_same_accepts_any_version_of_a_library(newer: str) -> None:
    assert differences({"langgraph_version": "1.2.22"}, {"langgraph_version": newer}) == []
    theirs = {"lc_versions": {"langchain-core": "1.7.2", "langchain": "1.4.7"}}
    assert differences(theirs, {"lc_versions": {"langchain-core": newer, "langgraph": newer}}) == []


@pytest.mark.parametrize("ours", [{}, {"langgraph_version": None}, {"langgraph_version": "unknown"}])
def test_same_refuses_a_library_field_that_is_missing_or_malformed(ours: Any) -> None:
    assert len(differences({"langgraph_version": "1.2.22"}, ours)) == 1


@pytest.mark.parametrize("ours", [{}, {"langchain": ""}, "1.7.2", None])
def test_same_refuses_versions_that_are_not_versions_by_library(ours: Any) -> None:
    assert len(differences({"lc_versions": {"langchain": "1.4.7"}}, {"lc_versions": ours})) == 1


def test_same_compares_versions_that_are_not_a_librarys() -> None:
    assert differences({"version": 1}, {"version": 2}) == ["$.version: theirs 1, ours 2"]
    assert differences({"app_version": "1.2.3"}, {"app_version": "1.2.4"}) != []


@pytest.mark.parametrize("key", LIBRARY_FIELDS)
def test_library_field_is_recorded_with_its_version(key: str) -> None:
    recorded = {json.dumps(value) for _, name, value in _fields() if name == key}
    assert recorded, f"no recording has {key}: remove the entry"
    assert all(LIBRARY_FIELDS[key].recorded_with in value for value in recorded)


def test_every_recorded_version_belongs_to_a_library_or_to_the_reference_server() -> None:
    """A version that is compared verbatim fails with the next release."""
    unknown = {
        (name, key, value)
        for name, key, value in _fields()
        if isinstance(value, str) and _RELEASE.fullmatch(value) and is_version(value)
        if key not in LIBRARY_FIELDS and key not in WANTED.theirs
    }
    assert {(key, value) for _, key, value in unknown} == {("version", "0.16.7")}, unknown


def _fields() -> Iterator[tuple[str, str, Any]]:
    """Yield recording, key and value of each field in a response of a compared recording, at any depth."""
    for name in sorted({file.stem for file in FOLDER.glob("*.txt")} - set(NOT_SERVED)):
        for exchange in read_transcript(name):
            for answer in _answers(exchange):
                yield from ((name, key, value) for key, value in _walk(answer))


def _answers(exchange: Exchange) -> list[Any]:
    if exchange.is_stream:
        return [frame.data for frame in read_frames(exchange.text)]
    is_json = exchange.answer_headers.get("content-type", "").startswith("application/json")
    return [json.loads(exchange.text)] if is_json and exchange.text else []


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            if key not in LIBRARY_FIELDS:
                yield from _walk(one)
    elif isinstance(value, list):
        for one in value:
            yield from _walk(one)
