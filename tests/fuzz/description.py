"""Requests generated from the server's OpenAPI document: URLs, queries and bodies of every route."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from hypothesis import strategies as st

from runstead.gateway.api import create_api

from .values import TEXTS, Json, values

_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """One route and method, with the schema of its body and the names of its parameters."""

    method: str
    path: str
    body: Mapping[str, Any] | None
    query: Sequence[str]

    @property
    def waits(self) -> bool:
        """True if the response may take as long as a run or the lifetime of a thread."""
        return self.path.endswith(("/stream", "/stream/events", "/wait", "/join", "/cancel", "/commands"))


class Description:
    """The document, read once."""

    def __init__(self) -> None:
        self._document = create_api(cast(Any, None), authenticator=cast(Any, None)).openapi()
        self.operations = [
            Operation(
                method.upper(),
                path,
                said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema"),
                [one["name"] for one in said.get("parameters", ()) if one["in"] == "query"],
            )
            for path, methods in self._document["paths"].items()
            for method, said in methods.items()
        ]

    def body_of(self, operation: Operation, known: Mapping[str, Json]) -> st.SearchStrategy[Json]:
        """Mostly valid bodies. ``known`` values are used for fields of these names, most of the time."""
        return self._values(operation.body, known, 0) if operation.body is not None else st.just({})

    def _values(self, schema: Mapping[str, Any], known: Mapping[str, Json], depth: int) -> st.SearchStrategy[Json]:
        if name := schema.get("$ref"):
            return self._values(self._document["components"]["schemas"][name.rpartition("/")[2]], known, depth)
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return st.one_of([self._values(one, known, depth) for one in choices])
        if "enum" in schema or "const" in schema:
            return st.sampled_from(schema.get("enum") or [schema["const"]])
        if depth > _DEEPEST:
            return st.none()
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self._object(schema, known, depth)
            case "object":
                return st.dictionaries(st.sampled_from(TEXTS), values, max_size=2)
            case "array":
                return st.lists(self._values(schema.get("items", {}), known, depth + 1), max_size=3)
            case "integer":
                return st.integers(0, 12)
            case "number":
                return st.sampled_from((0, 0.25, 1, 60))
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
            case "string":
                return st.one_of(st.sampled_from(("x", "echo")), st.sampled_from(TEXTS))
        return values

    def _object(self, schema: Mapping[str, Any], known: Mapping[str, Json], depth: int) -> st.SearchStrategy[Json]:
        wanted = set(schema.get("required", ()))
        fields = {
            name: st.one_of(st.just(known[name]), st.just(known[name]), of) if name in known else of
            for name, of in ((name, self._values(one, known, depth + 1)) for name, one in schema["properties"].items())
        }
        required = {name: of for name, of in fields.items() if name in wanted or name in ("assistant_id", "input")}
        return _some_of(required, {name: of for name, of in fields.items() if name not in required})


@st.composite
def _some_of(
    draw: st.DrawFn, required: Mapping[str, st.SearchStrategy[Json]], others: Mapping[str, st.SearchStrategy[Json]]
) -> Json:
    """An object with all required fields and up to three others: few enough that it is valid as a whole."""
    names = draw(st.lists(st.sampled_from(sorted(others)), max_size=3, unique=True)) if others else []
    return {name: draw(of) for name, of in {**required, **{name: others[name] for name in names}}.items()}


def path_of(operation: Operation, parts: Mapping[str, str]) -> str:
    """The path with its parameters filled in; missing ones become ``x``."""
    return re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], "x"), operation.path)
