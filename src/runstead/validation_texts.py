"""Texts for invalid values and unknown names, for people who have not read the code: no words of the library."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "path": "a path",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def problem_of(problem: ErrorDetails) -> str:
    """Return one error of a validation as a clause, such as ``must be a whole number``."""
    kind, context = problem["type"], problem.get("ctx") or {}
    if kind in _BOUNDS:
        key, text = _BOUNDS[kind]
        return f"{text} {context[key]}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    expected = _KINDS.get(kind.partition("_")[0])
    return f"must be {expected}" if expected else problem["msg"][:1].lower() + problem["msg"][1:]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` for a misspelled name; nothing if no known name is similar."""
    originals = {one.lower(): one for one in known}
    similar = get_close_matches(name.lower(), originals, n=1)
    return f"; did you mean {originals[similar[0]]}?" if similar else ""
