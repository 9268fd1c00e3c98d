"""Source of a graph's code: ``./file.py:variable`` or ``module:variable``, parsed but not yet loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


class SourceError(Exception):
    """The path of a graph is invalid; ``problem`` contains the reason and the fix."""

    def __init__(self, target: str, problem: str) -> None:
        self.target, self.problem = target, problem
        super().__init__(f"{target}: {problem}")


@dataclass(frozen=True, slots=True)
class GraphSource:
    """One graph and its source: a ``file`` or an importable ``module``, and the ``variable`` in it.

    ``agent_isolation`` selects the event loop of its code; None: as the setting of that name.
    """

    graph_id: str
    target: str
    variable: str
    directory: Path
    file: Path | None = None
    module: str | None = None
    description: str | None = None
    agent_isolation: Literal["shared", "run"] | None = None
    value: Any = None
    """The graph or factory itself, if it was given as an object instead of a place in a module."""


def parse_source(graph_id: str, target: str, directory: Path, description: str | None = None) -> GraphSource:
    """Parse ``target``; relative files are relative to ``directory``. Raises SourceError."""
    _check_id(graph_id, target)
    # From the right: a Windows path contains a colon too.
    place, colon, variable = target.rpartition(":")
    if not colon or not place or not re.fullmatch(r"[^\W\d]\w*", variable):
        raise SourceError(target, f"{target!r} names no variable; write it as ./file.py:graph or package.module:graph")
    if re.search(r"\.[cm]?[jt]sx?$", place):
        raise SourceError(target, f"{place!r} is JavaScript, and only Python graphs can be served; name a .py file")
    if not (place.endswith(".py") or "/" in place or "\\" in place):
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", place):
            raise SourceError(target, f"{place!r} is neither a .py file nor a module; write ./file.py:{variable}")
        return GraphSource(graph_id, target, variable, directory, module=place, description=description)
    file = (directory / Path(place).expanduser()).resolve()
    if not file.is_file():
        raise SourceError(target, f"there is no file {place!r} in {directory}; correct the path")
    return GraphSource(graph_id, target, variable, directory, file=file, description=description)


def source_of(graph_id: str, value: object, directory: Path) -> GraphSource:
    """Return the source of a graph that is given as an object. Raises SourceError."""
    target = f"<{type(value).__name__} {graph_id}>"
    _check_id(graph_id, target)
    if value is None or isinstance(value, str):
        raise SourceError(graph_id, f"got {value!r}; expected a compiled graph, or a factory of one")
    return GraphSource(graph_id, target, graph_id, directory, value=value)


def _check_id(graph_id: str, target: str) -> None:
    if not graph_id.strip() or any(ord(char) < 32 for char in graph_id):
        raise SourceError(target, f"{graph_id!r} cannot be the id of a graph; give it a readable name")
