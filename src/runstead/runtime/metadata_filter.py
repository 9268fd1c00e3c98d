"""Filters over JSON metadata, and the two comparisons that they use: containment and equality.

Adapters translate a filter for their database; each translation must agree with `matches_metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .json_types import JsonMapping


@dataclass(frozen=True, slots=True)
class FieldEquals:
    """Metadata whose top-level ``key`` exists and equals ``value`` completely."""

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    """Metadata that matches every part; without parts, any metadata."""

    parts: tuple[MetadataFilter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Metadata that matches at least one part."""

    parts: tuple[MetadataFilter, ...]


MetadataFilter: TypeAlias = JsonMapping | FieldEquals | AllOf | AnyOf
"""A mapping is JSON that metadata must contain."""


def matches_metadata(metadata: object, wanted: MetadataFilter) -> bool:
    """Return whether metadata match a filter."""
    match wanted:
        case AllOf(parts):
            return all(matches_metadata(metadata, part) for part in parts)
        case AnyOf(parts):
            return any(matches_metadata(metadata, part) for part in parts)
        case FieldEquals(key, value):
            return isinstance(metadata, Mapping) and key in metadata and json_equals(metadata[key], value)
        case _:
            return json_contains(metadata, wanted)


def json_contains(stored: Any, wanted: Any) -> bool:
    """Return whether JSON contains other JSON: objects contain every pair, arrays contain an element for each wanted
    one, other values are equal."""
    if isinstance(wanted, Mapping):
        return isinstance(stored, Mapping) and all(
            key in stored and json_contains(stored[key], value) for key, value in wanted.items()
        )
    if _is_array(wanted):
        return _is_array(stored) and all(any(json_contains(one, value) for one in stored) for value in wanted)
    return _same(stored, wanted)


def json_equals(one: Any, other: Any) -> bool:
    """Return whether two JSON values are completely equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equals(one[name], other[name]) for name in one)
    if _is_array(one) and _is_array(other):
        return len(one) == len(other) and all(map(json_equals, one, other))
    return _same(one, other)


def _is_array(value: object) -> bool:
    return isinstance(value, list | tuple)


def _same(one: object, other: object) -> bool:
    # In JSON, true is not a number, although it is one in Python.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
