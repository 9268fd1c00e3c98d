"""Parsing of langgraph.json into validated types.

Keys that only matter for building an image are ignored, unknown keys cause a warning, and an invalid value is refused
with the file, the key and the expected value. Nothing is imported or applied here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.validation_texts import did_you_mean, problem_of

from .sections import (
    ApprovalPart,
    AuthPart,
    BudgetPart,
    CheckpointerPart,
    Document,
    HttpPart,
    PriorityPart,
    StorePart,
    WebhooksPart,
    expected_at,
    unknown_keys,
)
from .sources import GraphSource, SourceError, parse_source, source_of

_log = logging.getLogger(__name__)


class ConfigurationError(Exception):
    """The configuration is invalid; the text names the file, the key and the fix."""

    def __init__(self, file: Path, key: str, problem: str) -> None:
        self.file, self.key, self.problem = file, key, problem
        super().__init__(f"{file}: {key + ': ' if key else ''}{problem}")


@dataclass(frozen=True, slots=True)
class GraphConfiguration:
    """Configuration of a server. Relative paths are relative to ``directory``; ``env`` is a mapping, or a file with
    one."""

    directory: Path
    graphs: Sequence[GraphSource]
    file: Path | None = None
    dependencies: Sequence[str] = (".",)
    env: Path | Mapping[str, str] = field(default_factory=dict)
    http: HttpPart = field(default_factory=HttpPart)
    store: StorePart = field(default_factory=StorePart)
    checkpointer: CheckpointerPart = field(default_factory=CheckpointerPart)
    auth: AuthPart | None = None
    webhooks: WebhooksPart = field(default_factory=WebhooksPart)
    encryption: JsonMapping | None = None
    priority: PriorityPart = field(default_factory=PriorityPart)
    budgets: Sequence[BudgetPart] = ()
    approvals: Sequence[ApprovalPart] = ()
    ui: JsonMapping | None = None
    warnings: Sequence[str] = ()

    @property
    def search_paths(self) -> tuple[Path, ...]:
        """Paths for ``sys.path``: the local dependencies, their ``src`` directories, and the project's own."""
        # Also dependencies without a dot, as in the reference server: a package of that name is not a directory here.
        places = [self.directory / name for name in self.dependencies] + [self.directory]
        found = (path for place in places for path in (place, place / "src") if path.is_dir())
        return tuple(dict.fromkeys(path.resolve() for path in found))


def is_local(dependency: str) -> bool:
    """Return whether a dependency is a directory of the project, instead of the name of a package to be installed."""
    return dependency.startswith(".") or Path(dependency).is_absolute()


def read_configuration(file: Path) -> GraphConfiguration:
    """Read the configuration in ``file``. Raises ConfigurationError."""
    file = file.resolve()
    data = _load_json(file)
    try:
        parts = Document.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(file, *_first_problem(error)) from error
    warnings = [f"{file}: {remark}" for remark in _remarks(file.parent, data, parts)]
    for warning in warnings:
        _log.warning("%s", warning)
    return GraphConfiguration(
        directory=file.parent,
        graphs=tuple(_graph(file, graph_id, value) for graph_id, value in parts.graphs.items()),
        file=file,
        dependencies=tuple(parts.dependencies),
        env=_environment(file.parent, parts.env),
        http=parts.http,
        store=parts.store,
        checkpointer=parts.checkpointer,
        auth=parts.auth,
        webhooks=parts.webhooks,
        encryption=parts.encryption,
        priority=parts.priority,
        budgets=tuple(parts.budgets),
        approvals=tuple(parts.approvals),
        ui=parts.ui,
        warnings=tuple(warnings),
    )


def configuration_of(targets: Sequence[str], directory: Path) -> GraphConfiguration:
    """Return the configuration of ``runstead dev file.py:graph ...``: each graph has the name of its variable. Raises
    SourceError."""
    directory = directory.resolve()
    sources = [parse_source(target.partition(":")[2] or target, target, directory) for target in targets]
    names = [source.graph_id for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            twice[0], "two graphs have the same variable name; give them different ids in a langgraph.json"
        )
    env = directory / ".env"
    # Their own directories come first, as when the file is run as a script.
    places = tuple(dict.fromkeys(str(source.file.parent) for source in sources if source.file))
    return GraphConfiguration(
        directory=directory, graphs=tuple(sources), dependencies=(*places, "."), env=env if env.is_file() else {}
    )


def configuration_of_graphs(graphs: Mapping[str, object], directory: Path) -> GraphConfiguration:
    """Return the configuration of graphs that are given as objects, by their ids. Raises SourceError."""
    if not graphs:
        raise SourceError("{}", 'there is no graph; give one, such as {"agent": graph}')
    directory = directory.resolve()
    return GraphConfiguration(
        directory=directory,
        graphs=tuple(source_of(graph_id, graph, directory) for graph_id, graph in graphs.items()),
        # The program has imported what it needs, and set its own variables.
        dependencies=(),
    )


def _load_json(file: Path) -> JsonObject:
    try:
        # Read as bytes: editors may write a byte order mark, or UTF-16.
        data = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        problem = "there is no such file; name one with --config, or serve one graph with `runstead dev file.py:graph`"
        raise ConfigurationError(file, "", problem) from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            file, "", f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (OSError, RecursionError, ValueError) as error:
        # Not text, nested too deeply, or a number with thousands of digits.
        raise ConfigurationError(file, "", f"cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(file, "", 'must contain an object such as {"graphs": {"agent": "./agent.py:graph"}}')
    return data


def _graph(file: Path, graph_id: str, value: Any) -> GraphSource:
    match value:
        case str(target):
            description = None
        case {"path": str(target)}:
            description = value.get("description")
        case _:
            problem = (
                f'got {value!r}; expected "./file.py:graph", "module:graph", or {{"path": ..., "description": ...}}'
            )
            raise ConfigurationError(file, f"graphs.{graph_id}", problem)
    if description is not None and not isinstance(description, str):
        raise ConfigurationError(file, f"graphs.{graph_id}.description", f"got {description!r}; expected a string")
    isolation = None if isinstance(value, str) else value.get("agent_isolation")
    if isolation not in (None, "shared", "run"):
        raise ConfigurationError(
            file, f"graphs.{graph_id}.agent_isolation", f'got {isolation!r}; expected "shared" or "run"'
        )
    try:
        source = parse_source(graph_id, target, file.parent, description)
    except SourceError as error:
        raise ConfigurationError(file, f"graphs.{graph_id}", error.problem) from error
    return replace(source, agent_isolation=isolation)


def _remarks(directory: Path, data: JsonMapping, parts: Document) -> Iterator[str]:
    """Yield warnings about parts of the file that have no effect, as ``key: sentence``."""
    for key, known in unknown_keys(data):
        yield f"{key}: unknown key, ignored{did_you_mean(key.rpartition('.')[2], known)}"
    for dependency in parts.dependencies:
        if is_local(dependency) and not (directory / dependency).is_dir():
            yield (
                f"dependencies: {dependency!r} is not a directory in {directory}; nothing is imported from it. "
                "Correct the path or remove it"
            )
    if isinstance(parts.env, str) and not _is_readable(directory / parts.env):
        yield f"env: there is no file {parts.env!r} in {directory}; no variables are set from it"
    if parts.env is None and (directory / ".env").is_file():
        yield 'env: the file .env beside it is not read; write {"env": ".env"} to set its variables'


def _environment(directory: Path, env: str | Mapping[str, str] | None) -> Path | Mapping[str, str]:
    if not isinstance(env, str):
        return env or {}
    path = directory / env
    return path if _is_readable(path) else {}


def _is_readable(path: Path) -> bool:
    """Return whether the path is a file, or a pipe that a secret manager writes to."""
    return path.is_file() or path.is_fifo()


def _first_problem(error: ValidationError) -> tuple[str, str]:
    problem = error.errors(include_url=False)[0]
    place = [str(part) for part in problem["loc"]]
    expected = expected_at(place)
    if problem["type"] == "missing":
        return ".".join(place), f"is missing; expected {expected}"
    return ".".join(place), f"{problem_of(problem)}, got {problem['input']!r}; expected {expected}"
