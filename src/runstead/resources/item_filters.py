"""Filters over the values of items: validation and matching. Pure.

A filter names fields of a value. Each is compared with a plain value, with an object of operators, or with an object of
nested fields. Unknown operators are refused: a filter that ignored a condition would match too much.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runstead.runtime.json_types import JsonMapping

_ORDERED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS: Final = ("$eq", "$ne", *_ORDERED)


class InvalidFilter(ValueError):
    """The filter is invalid; the text names the invalid part and the known operators."""


def check_filter(wanted: JsonMapping | None) -> None:
    """Raise InvalidFilter for an invalid filter."""
    if wanted is None:
        return
    if not isinstance(wanted, Mapping):
        raise InvalidFilter("filter: must be an object of fields")
    for field, condition in wanted.items():
        if not isinstance(field, str):
            raise InvalidFilter(f"filter: {field!r} is not a field name; names are strings")
        if field.startswith("$"):
            raise InvalidFilter(
                f'filter: {field!r} stands where a field is expected; write {{"field": {{"$eq": value}}}}'
            )
        _check_condition(f"filter.{field}", condition)


def matches_filter(value: object, wanted: JsonMapping | None) -> bool:
    """Return whether ``value`` matches ``wanted``. A missing field counts as null. Call `check_filter` first."""
    return all(_meets(_field(value, field), condition) for field, condition in (wanted or {}).items())


def _check_condition(place: str, condition: object) -> None:
    if isinstance(condition, Mapping):
        operators = [name for name in condition if isinstance(name, str) and name.startswith("$")]
        if operators and len(operators) < len(condition):
            raise InvalidFilter(f"{place}: operators and fields cannot be mixed in one object")
        for name, below in condition.items():
            if name in operators:
                _check_operator(place, name, below)
            elif not isinstance(name, str):
                raise InvalidFilter(f"{place}: {name!r} is not a field name; names are strings")
            else:
                _check_condition(f"{place}.{name}", below)
    elif isinstance(condition, list | tuple):
        for number, one in enumerate(condition):
            _check_condition(f"{place}[{number}]", one)


def _check_operator(place: str, name: str, operand: object) -> None:
    if name not in OPERATORS:
        raise InvalidFilter(f"{place}: there is no operator {name!r}; known are {', '.join(OPERATORS)}")
    if name in _ORDERED and not (_is_number(operand) or isinstance(operand, str)):
        raise InvalidFilter(f"{place}: {name} compares numbers, or texts; got {type(operand).__name__}")


def _meets(value: object, condition: object) -> bool:
    if isinstance(condition, Mapping):
        if not condition:
            return isinstance(value, Mapping) and not value
        if all(name.startswith("$") for name in condition):
            return all(_operate(name, value, operand) for name, operand in condition.items())
        return isinstance(value, Mapping) and all(_meets(value.get(name), below) for name, below in condition.items())
    if isinstance(condition, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(condition)
            and all(_meets(one, wanted) for one, wanted in zip(value, condition, strict=True))
        )
    return _equal(value, condition)


def _operate(name: str, value: object, operand: object) -> bool:
    if name == "$eq":
        return _equal(value, operand)
    if name == "$ne":
        return not _equal(value, operand)
    alike = (_is_number(value) and _is_number(operand)) or (isinstance(value, str) and isinstance(operand, str))
    # Text and numbers have no order between them.
    return alike and _ORDERED[name](value, operand)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if _is_array(one) and _is_array(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    # In JSON, true is not a number, although it is one in Python.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_array(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
